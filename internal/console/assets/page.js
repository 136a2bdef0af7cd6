// What the parts of the console share. Everything that came from a telephone, an IVR
// or a server goes into the page as text, never as HTML.
import { t, tag } from './words.js'

export const $ = (id) => document.getElementById(id)

// element makes an element with text, attributes and children.
export const element = (name, { text, ...attributes } = {}, ...children) => {
  const made = document.createElement(name)
  if (text !== undefined) made.textContent = text
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) made[key] = value
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? '' : value)
  }
  made.append(...children)
  return made
}

// say sets a text only where it changes, so that a screen reader is not told again.
export const say = (e, text) => {
  if (e.textContent !== text) e.textContent = text
}

// skew is how far this machine's clock is behind the connector's, in milliseconds.
let skew = 0
export const setNow = (now) => {
  skew = new Date(now) - Date.now()
}
export const now = () => Date.now() + skew

export const number = (n) => new Intl.NumberFormat(tag()).format(n)

// clock is a time of day, and the day where it is not today.
export const clock = (text) => {
  const at = new Date(text)
  const day = at.toDateString() === new Date(now()).toDateString() ? {} : { year: 'numeric', month: '2-digit', day: '2-digit' }
  return at.toLocaleString(tag(), { ...day, hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' })
}

// shortClock is without seconds where it is of today.
export const shortClock = (text) => clock(text).replace(/^(\d+:\d+):\d+$/, '$1')

export const span = (seconds) => {
  const units = t('units')
  const s = Math.max(0, Math.round(seconds))
  if (s < 60) return `${s}${units.s.startsWith(' ') ? '' : ' '}${units.s}`
  const [n, unit] = s < 3600 ? [s / 60, units.min] : s < 172800 ? [s / 3600, units.h] : [s / 86400, units.d]
  return `${Math.floor(n)}${unit.startsWith(' ') ? '' : ' '}${unit}`
}

export const age = (text) => span((now() - new Date(text)) / 1000)

export const time = (text) => element('time', { text: clock(text), datetime: text, title: new Date(text).toLocaleString(tag()) })

export const bytes = (n) => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let i = 0
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024
  return `${number(Math.round(n * 10) / 10)} ${units[i]}`
}

// kindOf says in words what kind of call a pop was.
export const kindOf = (e) => t('modes')[e.mode ?? ''] + (e.code && !e.mode ? ` ${e.code}` : '')

// whatOf says in words what an event is about.
export const whatOf = (e) => {
  switch (e.type) {
    case 'callpop.v1':
      return `${e.number || t('unknown')} · ${kindOf(e)}`
    case 'callpop.session.v1':
      return [t('session')[e.state] ?? e.state, e.cause, e.gap && new Date(e.gap.to) - new Date(e.gap.from) >= 1000 && t('gap')(span((new Date(e.gap.to) - new Date(e.gap.from)) / 1000))].filter(Boolean).join(' · ')
    default:
      return [t('reasons')[e.reason] ?? e.reason, e.sink, e.detail].filter(Boolean).join(' · ')
  }
}

export const toLogIn = () => location.assign('/console/login')

// ask calls the connector. Its error has the connector's words.
export const ask = async (path, body) => {
  const options = body && { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetch(`/console/api/${path}`, { ...options, cache: 'no-store' })
  if (response.status === 401) {
    toLogIn()
    throw new Error('401')
  }
  if (!response.ok) {
    const text = await response.text()
    let words = text
    try {
      words = JSON.parse(text).error
    } catch { /* it was not the console that answered */ }
    throw new Error(words || response.statusText)
  }
  return response.status === 204 ? undefined : response.json()
}
