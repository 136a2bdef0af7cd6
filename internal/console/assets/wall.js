// The agents, each a tile that keeps its place.
import { t } from './words.js'
import { $, age, element, kindOf, number, say, shortClock } from './page.js'

const perPage = 200
const bad = new Set(['failed', 'expired', 'reconnecting'])

const agents = new Map() // by server and agent
const tiles = new Map() // those on the page
let order = [] // all that fit the filters
let stale = true // the order has to be found again
let page = 0
let opened = () => {}

const keyOf = (a) => JSON.stringify([a.server, a.agent])
const collator = new Intl.Collator('en', { numeric: true })

// forget is for what the connector counts anew.
export const forget = () => {
  agents.clear()
  stale = true
}

export const take = (changed) => {
  for (const a of changed) {
    const key = keyOf(a)
    if (!agents.has(key) || agents.get(key).state !== a.state) stale = true
    agents.set(key, a)
  }
}

const makeTile = (key) => {
  const tile = {
    name: element('b'), server: element('small'), state: element('span'), since: element('span', { class: 'since' }),
    pop: element('span', { class: 'pop' }),
  }
  tile.button = element('button', { type: 'button', onclick: () => opened(agents.get(key)) },
    element('span', { class: 'who' }, tile.name, tile.server), tile.state, tile.since, tile.pop)
  tile.item = element('li', {}, tile.button)
  return tile
}

const fill = (tile, a, servers) => {
  const state = a.state ?? ''
  tile.item.className = `tile ${state || 'none'}`
  say(tile.name, a.agent)
  say(tile.server, servers > 1 ? a.server : '')
  tile.state.className = `state ${state}`
  say(tile.state, t('session')[state] ?? state)
  say(tile.since, a.since ? age(a.since) : '')
  say(tile.pop, a.pop ? `${shortClock(a.pop.at)} ${a.pop.number || kindOf(a.pop)}` : t('noPop'))
  tile.button.title = a.cause ?? ''
}

const filter = () => {
  const text = $('find').value.trim().toLowerCase()
  const state = $('only-state').value
  const server = $('only-server').value
  order = [...agents.values()].filter((a) => (!text || a.agent.toLowerCase().includes(text)) && (!server || a.server === server) &&
    (!state || (state === 'trouble' ? bad.has(a.state) : (a.state ?? 'none') === state)))
  order.sort((a, b) => collator.compare(a.server, b.server) || collator.compare(a.agent, b.agent))
  page = Math.max(0, Math.min(page, Math.ceil(order.length / perPage) - 1))
}

let known = ''
const offerServers = (servers) => {
  const key = JSON.stringify([servers, t('allServers')])
  if (known === key) return
  known = key
  const chosen = $('only-server').value
  $('only-server').replaceChildren(element('option', { value: '', text: t('allServers') }),
    ...servers.map((s) => element('option', { value: s, text: s })))
  $('only-server').value = servers.includes(chosen) ? chosen : ''
}

export const show = () => {
  if (!stale && $('tiles').dataset.page === String(page)) {
    const servers = $('only-server').options.length - 1
    for (const [key, tile] of tiles) fill(tile, agents.get(key), servers)
    return
  }
  stale = false
  const servers = [...new Set([...agents.values()].map((a) => a.server))].sort(collator.compare)
  offerServers(servers)
  filter()
  const shown = order.slice(page * perPage, (page + 1) * perPage)
  const wanted = new Set(shown.map(keyOf))
  for (const [key, tile] of tiles) {
    if (!wanted.has(key)) {
      tile.item.remove()
      tiles.delete(key)
    }
  }
  // Tiles that stay are not moved, so that the one with the focus keeps it.
  let next = $('tiles').firstChild
  for (const a of shown) {
    const key = keyOf(a)
    if (!tiles.has(key)) tiles.set(key, makeTile(key))
    const tile = tiles.get(key)
    fill(tile, a, servers.length)
    if (tile.item === next) next = next.nextSibling
    else $('tiles').insertBefore(tile.item, next)
  }
  $('tiles').dataset.page = page
  const counts = { up: 0, bad: 0, total: 0 } // of those that should have a session
  for (const a of agents.values()) {
    if (a.state && a.state !== 'closed') counts.total++
    if (a.state === 'connected') counts.up++
    if (bad.has(a.state)) counts.bad++
  }
  say($('summary'), t('summary')(number(counts.up), number(counts.total), counts.bad && number(counts.bad)))
  $('no-agents').hidden = order.length > 0
  $('pager').hidden = order.length <= perPage
  say($('place'), t('page')(number(page * perPage + 1), number(Math.min((page + 1) * perPage, order.length)), number(order.length)))
  $('previous').disabled = page === 0
  $('next').disabled = (page + 1) * perPage >= order.length
}

export const redraw = () => {
  stale = true
  show()
}

export const begin = (open) => {
  opened = open
  for (const id of ['find', 'only-state', 'only-server']) {
    $(id).oninput = () => {
      page = 0
      redraw()
    }
  }
  const turn = (step) => () => {
    page += step
    redraw()
  }
  $('previous').onclick = turn(-1)
  $('next').onclick = turn(1)
}
