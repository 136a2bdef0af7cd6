// The operators' page: it asks the connector once a second what has changed.
import { t, tag, turn } from './words.js'
import { $, ask, say, setNow } from './page.js'
import * as overview from './overview.js'
import * as wall from './wall.js'
import * as events from './events.js'
import * as letters from './letters.js'

const interval = 1000
const hiddenInterval = 10000 // of a tab that nobody sees
let run = ''
let version = 0
let state // the newest answer

const sleep = (time) => new Promise((done) => {
  const timer = setTimeout(done, time)
  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer)
    done()
  }, { once: true })
})

const showViewer = () => {
  const { viewer } = state
  $('log-in').hidden = !viewer.log_in || Boolean(viewer.ends)
  $('log-out').hidden = !viewer.ends
  $('numbers').hidden = !viewer.ends
  $('numbers').setAttribute('aria-pressed', viewer.numbers)
  say($('numbers'), t(viewer.numbers ? 'hideNumbers' : 'showNumbers'))
  $('read-only').hidden = viewer.may_change
  $('read-only').title = t('readOnlyHint')
}

const translate = () => {
  document.documentElement.lang = tag()
  document.title = `${t('title')} · CallPop`
  for (const e of document.querySelectorAll('[data-t]')) say(e, t(e.dataset.t))
  for (const e of document.querySelectorAll('[data-label]')) e.setAttribute('aria-label', t(e.dataset.label))
  $('find').placeholder = t('find')
  say($('language'), t('other'))
  $('language').lang = tag() === 'en' ? 'zh-CN' : 'en'
  for (const o of $('only-state').options) {
    if (o.value) say(o, o.value === 'trouble' ? t('inTrouble') : t('session')[o.value === 'none' ? '' : o.value])
  }
  for (const o of $('only-kind').options) if (o.value) say(o, t('kinds')[o.value])
  overview.forget()
  events.redraw()
  if (!state) return
  showViewer()
  overview.showOverview(state)
  wall.redraw()
  letters.draw()
}

const forget = () => {
  wall.forget()
  events.forget()
}

const poll = async () => {
  const answer = await ask(`state?run=${encodeURIComponent(run)}&after=${version}`)
  if (answer.run !== run) forget()
  state = answer
  ;({ run, version } = answer)
  setNow(answer.now)
  wall.take(answer.agents)
  events.take(answer.events)
  $('away').hidden = true
  if (answer.more) return true
  showViewer()
  overview.showOverview(answer)
  wall.show()
  events.show()
  letters.show(answer, answer.events)
  document.body.dataset.ready = 'true'
  return false
}

let leaving = false
let asking = Promise.resolve() // the poll under way

const follow = async () => {
  while (!leaving) {
    try {
      do asking = poll()
      while (await asking) // there is more at once
    } catch (error) {
      if (error.message === '401') return // on the way to the log-in
      say($('away'), t('away'))
      $('away').hidden = false
    }
    await sleep(document.hidden ? hiddenInterval : interval)
  }
}

$('language').onclick = () => {
  turn()
  translate()
}
$('numbers').onclick = async () => {
  try {
    await ask('numbers', { show: !state.viewer.numbers })
    run = '' // all of it again, with numbers or without
    await poll()
    events.redraw()
    letters.forget()
  } catch (error) {
    say($('away'), t('cannot')(error.message))
    $('away').hidden = false
  }
}
$('log-out').onclick = async () => {
  leaving = true // and asks nothing any more that would be refused
  await asking.catch(() => {})
  await fetch('/console/session', { method: 'DELETE' })
  location.assign('/console/login')
}

wall.begin(events.explainAgent)
events.begin()
letters.begin()
translate()
follow()
