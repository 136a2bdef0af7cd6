// Recent events, and the dialogue that explains one of them.
import { t } from './words.js'
import { $, ask, bytes, clock, element, number, say, time, whatOf } from './page.js'

const most = 60 // rows
let events = [] // the newest first
let paused = false
let stale = true

export const forget = () => {
  events = []
  stale = true
}

export const take = (more) => {
  if (!more.length) return
  events = [...more, ...events].sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : b.sequence - a.sequence))
  // As many of each kind as the connector lists, so that none crowds out another.
  const counts = {}
  events = events.filter((e) => (counts[e.type] = (counts[e.type] ?? 0) + 1) <= 100)
  stale = true
}

export const keyOf = (e) => `${e.type}/${e.sequence}`

// row is an event in a table.
export const row = (e, open) => {
  const made = element('tr', { 'data-key': keyOf(e) })
  made.append(
    element('td', {}, time(e.at)),
    element('td', {}, element('span', { class: `kind ${e.type === 'callpop.v1' ? 'pop' : e.type === 'callpop.dlq.v1' ? 'letter' : e.state}`, text: t('kinds')[e.type] })),
    element('td', { text: e.agent ?? '' }), element('td', { text: e.server }),
    element('td', { class: 'what', text: whatOf(e) }),
    element('td', {}, element('button', { type: 'button', text: t('explain'), 'aria-label': `${t('explain')}: ${t('kinds')[e.type]} ${e.agent ?? ''} ${clock(e.at)}`, onclick: () => open(e) })))
  return made
}

// fillRows keeps the rows that are still there, and the focus in them.
const fillRows = (body, list, open) => {
  const known = new Map([...body.children].map((r) => [r.dataset.key, r]))
  const wanted = new Set(list.map(keyOf))
  for (const [key, r] of known) if (!wanted.has(key)) r.remove()
  let next = body.firstChild
  for (const e of list) {
    const r = known.get(keyOf(e)) ?? row(e, open)
    if (r === next) next = next.nextSibling
    else body.insertBefore(r, next)
  }
}

export const show = () => {
  if (!stale || paused) return
  stale = false
  const kind = $('only-kind').value
  const list = events.filter((e) => !kind || e.type === kind).slice(0, most)
  $('no-events').hidden = list.length > 0
  fillRows($('event-rows'), list, explain)
}

export const redraw = () => {
  $('event-rows').replaceChildren()
  say($('pause'), t(paused ? 'resume' : 'pause'))
  const was = paused
  paused = false
  stale = true
  show()
  paused = was
}

export const begin = () => {
  $('only-kind').oninput = redraw
  $('pause').onclick = () => {
    paused = !paused
    $('pause').setAttribute('aria-pressed', paused)
    say($('pause'), t(paused ? 'resume' : 'pause'))
    show()
  }
  $('dialog-close').onclick = () => $('dialog').close()
  // A click beside the dialogue closes it.
  $('dialog').onclick = (event) => event.target === $('dialog') && $('dialog').close()
}

let asked = 0 // the newest request; what comes later of another is dropped

const opened = async (title, path, fill) => {
  const mine = ++asked
  const dialog = $('dialog')
  say($('dialog-title'), title)
  $('dialog-body').replaceChildren(element('p', { text: t('loading') }))
  if (!dialog.open) dialog.showModal()
  try {
    const answer = await ask(path)
    if (mine === asked) $('dialog-body').replaceChildren(...fill(answer))
  } catch (error) {
    if (mine === asked) $('dialog-body').replaceChildren(element('p', { role: 'alert', text: t('cannot')(error.message) }))
  }
}

const columns = () => element('thead', {}, element('tr', {}, ...['time', 'kind', 'agent', 'server', 'what'].map((w) => element('th', { scope: 'col', text: t(w) })),
  element('td', {})))

// explainAgent shows what happened to an agent.
export const explainAgent = (a) => {
  $('dialog-back').hidden = true
  return opened(t('ofAgent')(a.agent, a.server), `agents/${encodeURIComponent(a.server)}/${encodeURIComponent(a.agent)}`, ({ events: list }) => {
    if (!list.length) return [element('p', { class: 'empty', text: t('nothing') })]
    const body = element('tbody')
    body.append(...list.map((e) => row(e, (one) => explain(one, () => explainAgent(a)))))
    return [element('div', { class: 'wide', tabindex: 0, role: 'group', 'aria-labelledby': 'dialog-title' }, element('table', {}, columns(), body))]
  })
}

const facts = (list) => {
  const made = element('dl')
  for (const [name, value] of list.filter(([, v]) => v)) made.append(element('div', {}, element('dt', { text: name }), element('dd', { text: value })))
  return made
}

const meaningOf = (p) => t('means')[p.field ?? ''] ?? t('means')[p.field?.startsWith('extra.') ? 'extra' : '']

const pieces = (parts) => element('div', { class: 'wide', tabindex: 0, role: 'group', 'aria-label': t('parts') }, element('table', { id: 'parts' },
  element('thead', {}, element('tr', {}, ...['place', 'piece', 'meaning', 'became'].map((w) => element('th', { scope: 'col', text: t(w) })))),
  element('tbody', {}, ...parts.map((p) => element('tr', {},
    element('td', { class: 'place', text: `${p.from}–${p.to - 1}` }),
    element('th', { scope: 'row' }, element('code', { text: p.name ? `${p.name}=${p.value ?? ''}` : p.value ?? '' })),
    element('td', { text: meaningOf(p) }),
    element('td', {}, ...(p.event ? [element('code', { text: p.field }), ` ${p.event}`] : [element('span', { class: 'empty', text: t('none') })])))))))

const folded = (title, text, open) => element('details', { open }, element('summary', { text: title }), element('pre', { text, tabindex: 0 }))

// explain shows what an event is made of; back leads to where it was opened from.
export const explain = (e, back) => {
  $('dialog-back').hidden = !back
  $('dialog-back').onclick = back
  return opened(`${t('kinds')[e.type]} · ${whatOf({ ...e, detail: undefined, gap: undefined })}`, `events/${e.type}/${e.sequence}`, (x) => [
    facts([[t('received'), clock(x.at)], [t('server'), x.server], [t('agent'), x.agent], [t('reason'), x.reason && t('reasons')[x.reason]], [t('sink'), x.sink],
      [t('source'), x.source], [t('state'), x.state && t('session')[x.state]], [t('cause'), x.cause], [t('detail'), x.detail], [t('id'), x.id],
      [t('sequence'), x.spoolsequence ?? String(x.sequence)]]),
    ...(x.text ? [element('h3', { text: t('raw') }), element('pre', { id: 'raw', text: x.text, tabindex: 0 })] : []),
    ...(x.masked && x.text ? [element('p', { class: 'note', text: t('masked') })] : []),
    ...(x.lossy ? [element('p', { class: 'note', text: t('lossy') })] : []),
    ...(x.parts ? [element('h3', { text: t('parts') }), pieces(x.parts)] : []),
    ...(x.hex ? [folded(x.bytes > 4096 ? `${t('bytes')} (${t('first')(number(x.bytes))})` : `${t('bytes')} (${bytes(x.bytes)})`, x.hex, false)] : []),
    ...(x.headers ? [folded(t('headers'), Object.entries(x.headers).sort().map(([k, v]) => `${k}: ${v}`).join('\n'), false)] : []),
    folded(t('asPublished'), x.body, !x.text),
  ])
}
