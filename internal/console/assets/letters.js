// Dead letters, and putting them back into the line.
import { t } from './words.js'
import { $, ask, clock, element, number, say, time } from './page.js'
import { explain } from './events.js'

let letters = []
let older // what the next page begins before
let mayChange = false
let canLogIn = false
let outcomes = new Map() // by id
let busy = false

const boxes = () => [...$('letter-rows').querySelectorAll('input')]

const count = () => {
  const all = boxes()
  const n = all.filter((b) => b.checked).length
  $('retry').disabled = busy || n === 0
  say($('retry'), busy ? t('retrying') : n ? t('retryN')(number(n)) : t('retry'))
  $('all-letters').checked = n > 0 && n === all.length
  $('all-letters').indeterminate = n > 0 && n < all.length
}

const row = (l) => {
  const done = outcomes.get(l.id)
  return element('tr', {},
    element('td', {}, ...(mayChange ? [element('input', { type: 'checkbox', value: l.id, 'aria-label': t('select')(`${l.sequence}, ${clock(l.at)}`), onchange: count })] : [])),
    element('td', {}, time(l.at)),
    element('td', {}, element('span', { class: 'kind letter', text: t('reasons')[l.reason] ?? l.reason })),
    element('td', { text: l.sink || l.source || '' }), element('td', { text: l.agent ?? '' }), element('td', { text: l.server }),
    element('td', { class: 'what' }, l.detail ?? '', ...(done ? [element('p', { class: `outcome ${done.outcome}`, text: [t('outcome')[done.outcome] ?? done.outcome, done.detail].filter(Boolean).join(': ') })] : [])),
    element('td', {}, element('button', { type: 'button', text: t('explain'), 'aria-label': `${t('explain')}: ${t('kinds')['callpop.dlq.v1']} ${l.sequence}`, onclick: () => explain(l) })))
}

export const draw = () => {
  const chosen = new Set(boxes().filter((b) => b.checked).map((b) => b.value))
  $('letter-rows').replaceChildren(...letters.map(row))
  for (const b of boxes()) b.checked = chosen.has(b.value)
  $('no-letters').hidden = letters.length > 0
  $('letter-table').hidden = letters.length === 0
  $('older').hidden = !older
  $('retry').hidden = !mayChange || letters.length === 0
  $('all-letters').hidden = !mayChange
  $('retry-locked').hidden = mayChange || letters.length === 0
  say($('retry-locked'), t(canLogIn ? 'retryLocked' : 'retryNever'))
  count()
}

let loaded // what was asked for last
const load = async (before) => {
  loaded = before
  try {
    const page = await ask(`dead-letters${before ? `?before=${before}` : ''}`)
    if (loaded !== before) return
    letters = page.letters
    older = page.before
    $('newest').hidden = !before
    draw()
  } catch (error) {
    say($('letters-said'), t('cannot')(error.message))
  }
}

const retry = async () => {
  const chosen = new Set(boxes().filter((b) => b.checked).map((b) => b.value))
  const wanted = letters.filter((l) => chosen.has(l.id)).map(({ id, sequence }) => ({ id, sequence }))
  busy = true
  count()
  try {
    const { retried, error } = await ask('dead-letters/retry', { letters: wanted })
    for (const r of retried) outcomes.set(r.id, r)
    const good = retried.filter((r) => r.outcome === 'sent' || r.outcome === 'emitted').length
    say($('letters-said'), t('retried')(number(good), number(retried.length - good)) + (error ? ` ${error}` : ''))
    for (const b of boxes()) b.checked = false
  } catch (error) {
    say($('letters-said'), t('cannot')(error.message))
  }
  busy = false
  draw()
}

let newest = -1
// show looks for newer dead letters where the state tells of one.
export const show = ({ viewer, stored }, events) => {
  const changed = mayChange !== viewer.may_change || canLogIn !== viewer.log_in
  mayChange = viewer.may_change
  canLogIn = viewer.log_in
  const last = events.filter((e) => e.type === 'callpop.dlq.v1').reduce((n, e) => Math.max(n, e.sequence), newest)
  const news = last !== newest || newest < 0
  newest = Math.max(last, 0)
  say($('letter-count'), number(stored['callpop.dlq.v1'] ?? 0))
  if (news && !loaded) load()
  else if (changed) draw()
}

// forget reads them again, as after a change of what is masked.
export const forget = () => {
  outcomes = new Map()
  load()
}

export const begin = () => {
  $('older').onclick = () => load(older)
  $('newest').onclick = () => load()
  $('retry').onclick = retry
  $('all-letters').onchange = () => {
    for (const b of boxes()) b.checked = $('all-letters').checked
    count()
  }
}
