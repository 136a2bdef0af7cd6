// Problems, the rate of the last hour, servers and sinks.
import { t } from './words.js'
import { $, age, bytes, clock, element, number, say, span, time } from './page.js'

const svg = (name, attributes, text) => {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  if (text !== undefined) made.textContent = text
  return made
}

const badge = (state, text) => element('span', { class: `state ${state}`, text })

// problemsOf says what is not as it should be, as the problems of /readyz do.
export const problemsOf = ({ connector, agents_left_off: leftOff }) => {
  const say = t('problem')
  const all = []
  if (connector.state !== 'serving') all.push(say.connector(t('states')[connector.state] ?? connector.state))
  const { spool } = connector
  if (spool && spool.state !== 'serving') all.push(say.spool(t('states')[spool.state] ?? spool.state, spool.detail))
  for (const l of spool?.lost ?? []) all.push(say.lost(l.type, number(l.events), clock(l.found_at)))
  for (const s of connector.servers ?? []) {
    if (s.state === 'down' || s.state === 'partial') all.push(say.server(s.name, s.sessions_up, s.sessions_wanted))
  }
  for (const s of connector.sinks ?? []) {
    for (const l of s.lines ?? []) {
      if (l.state === 'retrying') all.push(say.sink(s.name, t('kinds')[l.type] ?? l.type, clock(l.since), l.last_error))
    }
  }
  if (connector.reload?.outcome === 'refused') all.push(say.refused(connector.reload.message))
  if (connector.reload?.pending?.length) all.push(say.restart(connector.reload.pending.join(', ')))
  if (connector.roster?.drained_since) all.push(say.drained(clock(connector.roster.drained_since)))
  all.push(...connector.roster?.file_problems ?? [])
  if (leftOff) all.push(say.leftOff)
  return all
}

// rows fills a table; where there is nothing to fill it with, it says none.
const rows = (body, columns, list, none) => body.replaceChildren(...(list.length ? list : [
  element('tr', {}, element('td', { colspan: columns, class: 'empty', text: none })),
]))

const cell = (content) => element('td', typeof content === 'object' ? {} : { text: content ?? '' }, ...(typeof content === 'object' ? [content] : []))

const showServers = (servers) => rows($('server-rows'), 4, servers.map((s) => element('tr', {},
  element('th', { scope: 'row', text: s.name }),
  cell(badge(s.state ?? '', t('serverStates')[s.state ?? ''] ?? s.state)),
  cell(s.sessions_wanted === undefined ? '' : t('of')(number(s.sessions_up), number(s.sessions_wanted))),
  cell((s.sources ?? []).join(', ')))), t('noServers'))

const showSinks = (sinks) => {
  $('sink-heads').hidden = sinks.length === 0
  rows($('sink-rows'), 5, sinks.flatMap((s) => {
    const counts = (s.lines ?? []).reduce((sum, l) => ({ lost: sum.lost + (l.lost ?? 0), refused: sum.refused + (l.dead_lettered ?? 0) }), { lost: 0, refused: 0 })
    const notes = Object.entries(counts).filter(([, n]) => n).map(([what, n]) => `${number(n)} ${t(what)}`)
    if (s.last_error) notes.push(`${t('error')} ${clock(s.last_error_at)}: ${s.last_error}`)
    const row = element('tr', {},
      element('th', { scope: 'row', text: s.name }, element('small', { text: ` ${s.type}` })),
      cell(badge(s.state ?? '', t('sinkStates')[s.state ?? ''] ?? s.state)),
      cell(s.backlog === undefined ? '–' : number(s.backlog)),
      cell(s.oldest_undelivered_seconds === undefined ? '–' : span(s.oldest_undelivered_seconds)),
      cell(s.last_success_at ? time(s.last_success_at) : '–'))
    if (!notes.length) return [row]
    row.className = 'noted'
    return [row, element('tr', {}, element('td', { colspan: 5, class: s.state === 'retrying' ? 'bad' : 'empty', text: notes.join(' · ') }))]
  }), t('noSinks'))
}

// showRate draws a bar for each minute; the words beside it, and the table, say the same.
const showRate = ({ until, pops, dead_letters: letters, partial_before: partial }) => {
  const minuteOf = (i) => clock(new Date(new Date(until) - (pops.length - 1 - i) * 60000).toISOString()).replace(/:\d\d$/, '')
  const total = pops.reduce((a, b) => a + b, 0)
  const most = Math.max(...pops)
  const label = t('chart')(number(total), number(most), minuteOf(pops.indexOf(most)), number(letters.reduce((a, b) => a + b, 0)))
  say($('rate-now'), number(pops.at(-1)))
  say($('rate-hour'), number(total))
  say($('rate-peak'), number(most))
  $('rate-partial').hidden = !partial
  const chart = $('chart')
  if (chart.getAttribute('aria-label') !== label) chart.setAttribute('aria-label', label)
  const width = 610
  const height = 120
  const top = Math.max(most, ...letters, 1)
  chart.setAttribute('viewBox', `0 0 ${width} ${height}`)
  const bar = (n, i, kind, x, w) => {
    const h = Math.max(1.5, (n / top) * (height - 4))
    const made = svg('rect', { class: kind, x: i * 10 + x, y: height - h, width: w, height: h, rx: 1.5 })
    made.append(svg('title', {}, `${minuteOf(i)}: ${number(n)}`))
    return made
  }
  chart.replaceChildren(
    svg('line', { class: 'axis', x1: 0, y1: height - 0.5, x2: width, y2: height - 0.5 }),
    ...pops.map((n, i) => n && bar(n, i, 'pops', 0.5, 9)).filter(Boolean),
    ...letters.map((n, i) => n && bar(n, i, 'letters', 6.5, 3)).filter(Boolean))
  if ($('rate-table').open) {
    $('rate-rows').replaceChildren(...pops.map((n, i) => element('tr', {},
      element('th', { scope: 'row', text: minuteOf(i) }), cell(number(n)), cell(number(letters[i])))).reverse())
  }
}

let drawn = {}
// once redraws a part only where what it shows has changed.
const once = (part, value, draw) => {
  const key = JSON.stringify(value)
  if (drawn[part] === key) return
  drawn[part] = key
  draw(value)
}

export const forget = () => {
  drawn = {}
}

export const showOverview = (state) => {
  const { connector } = state
  const problems = problemsOf(state)
  $('problems').hidden = problems.length === 0
  once('problems', problems, (all) => $('problem-list').replaceChildren(...all.map((text) => element('li', { text }))))
  say($('health'), problems.length ? t('trouble')(problems.length) : t('well'))
  $('health').className = `state ${problems.length ? 'failed' : 'up'}`
  say($('version'), connector.version ? `${t('version')} ${connector.version} · ${age(connector.started_at)}` : '')
  once('servers', connector.servers ?? [], showServers)
  once('sinks', connector.sinks ?? [], showSinks)
  once('rate', { ...state.rate, open: $('rate-table').open }, showRate)
  say($('stored'), t('spool')(number(state.stored['callpop.v1'] ?? 0), connector.spool?.free_bytes && bytes(connector.spool.free_bytes)))
}
