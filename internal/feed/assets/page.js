// The sample page of one agent. It shows the pops that callpop.js brings and opens
// the CRM's page for each. Everything that came from a telephone or an IVR goes
// into the page as text, never as HTML.
'use strict'

const words = {
  en: {
    agent: 'Agent', token: 'Token of this agent', connect: 'Connect', late: 'late', open: 'Open customer', copy: 'Copy number',
    ivr: 'From the voice menu', history: 'Earlier calls of this customer', recent: 'Recent pops', first: 'No earlier call in this time.',
    waiting: 'Waiting for a call', hint: 'The customer appears here as soon as the phone rings.', unknown: 'Number withheld',
    blocked: 'The browser blocked the customer’s window. Allow pop-ups for this address, or press “Open customer”.',
    other: '中文', sn: 'Call number', id: 'Call id', derived: 'derived', line: 'Line', started: 'Started', from: 'Transferred from',
    keys: 'Keys pressed', member: 'Member', data: 'Data', key: 'Call', ago: 'ago', now: 'now', crm: 'Customer',
    feed: { connecting: 'connecting', live: 'live', waiting: 'reconnecting', refused: 'token refused', closed: 'closed' },
    session: { connecting: 'LQ connecting', connected: 'LQ connected', failed: 'LQ failed', expired: 'LQ silent', reconnecting: 'LQ reconnecting', closed: 'signed out' },
    modes: {
      inbound: 'Inbound', manual_outbound: 'Outbound, by hand', inbound_conference: 'Inbound, three-way', auto_outbound: 'Outbound, automatic',
      inbound_transfer: 'Inbound, transferred', outbound_transfer: 'Outbound, transferred', outbound_conference: 'Outbound, three-way',
      test: 'Test', reserved: 'Reserved', '': 'Call',
    },
  },
  zh: {
    agent: '坐席', token: '本坐席的令牌', connect: '连接', late: '过时', open: '打开客户资料', copy: '复制号码',
    ivr: '语音菜单采集', history: '该客户此前的来电', recent: '最近弹屏', first: '此时段内没有更早的来电。',
    waiting: '等待来电', hint: '电话一响，客户信息就显示在这里。', unknown: '号码未知',
    blocked: '浏览器拦截了客户窗口。请允许本站弹出窗口，或点击“打开客户资料”。',
    other: 'English', sn: '呼叫流水号', id: '呼叫标识', derived: '推算', line: '外线通道', started: '开始时间', from: '转接自',
    keys: '客户按键', member: '会员号', data: '数据', key: '呼叫', ago: '前', now: '刚刚', crm: '客户资料',
    feed: { connecting: '连接中', live: '在线', waiting: '重新连接', refused: '令牌无效', closed: '已断开' },
    session: { connecting: '小灵呼连接中', connected: '小灵呼已连接', failed: '小灵呼连接失败', expired: '小灵呼无响应', reconnecting: '小灵呼重新连接', closed: '已签退' },
    modes: {
      inbound: '呼入', manual_outbound: '手工呼出', inbound_conference: '呼入三方通话', auto_outbound: '自动呼出',
      inbound_transfer: '呼入转接', outbound_transfer: '外呼转接', outbound_conference: '外呼三方通话', test: '测试', reserved: '待定', '': '通话',
    },
  },
}

const $ = (id) => document.getElementById(id)
const { server, agent, open: template, in: place, features } = document.body.dataset
const query = new URLSearchParams(location.search)
const since = query.get('since') || '2h'
const most = 100 // pops that the page keeps
const target = 'callpop-crm'

let language = query.get('lang') || localStorage.callpopLanguage || (navigator.language.startsWith('zh') ? 'zh' : 'en')
if (!words[language]) language = 'en'
const t = (word) => words[language][word]

let feed
let state = { feed: 'connecting' }
let blocked = false
let shown // the pop in the card
let pops = [] // {pop, late}, the newest first

// The token stands behind the # of the address, which browsers do not send, or is
// typed in. It stays in this tab and leaves the address at once.
const slot = `callpop token ${server}/${agent}`
const given = new URLSearchParams(location.hash.slice(1)).get('token')
if (given) {
  sessionStorage[slot] = given
  history.replaceState(null, '', location.pathname + location.search)
}

const element = (name, text, attributes = {}) => Object.assign(document.createElement(name), { textContent: text }, attributes)
const numberOf = (pop) => pop.customer?.number || t('unknown')
const customerOf = (pop) => pop.customer?.e164 || pop.customer?.number
const modeOf = (pop) => t('modes')[pop.pop?.mode ?? ''] ?? `${t('modes')['']} ${pop.pop.code}`
const clock = (text) => { // and the day, where it is not today
  const at = new Date(text)
  const day = at.toDateString() === new Date().toDateString() ? {} : { year: 'numeric', month: '2-digit', day: '2-digit' }
  return at.toLocaleString(language, { ...day, hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' })
}

// 138 1234 5678 is read out more easily than 13812345678.
const spaced = (number) => number.replace(/^(0?1\d\d)(\d{4})(\d{4})$/, '$1 $2 $3')

const facts = (list, rows) => list.replaceChildren(...rows.filter(([, value]) => value).map(([name, value]) => {
  const row = document.createElement('div')
  row.append(element('dt', name), element('dd', value))
  return row
}))

const entry = ({ pop, late }) => {
  const item = document.createElement('li')
  const button = element('button', '', { type: 'button', onclick: () => show(pop) })
  button.append(
    element('time', clock(pop.received_at), { dateTime: pop.received_at }),
    element('b', spaced(numberOf(pop))), element('span', modeOf(pop)))
  if (late) button.append(element('i', t('late')))
  if (pop.id === shown?.id) button.setAttribute('aria-current', 'true')
  item.append(button)
  return item
}

const show = (pop) => {
  shown = pop
  render()
}

const openCustomer = (pop) => {
  if (!template) return
  blocked = !CallPop.open(template, pop, target, features || undefined)
}

const render = () => {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en'
  for (const e of document.querySelectorAll('[data-t]')) e.textContent = t(e.dataset.t)
  $('language').textContent = t('other')
  $('crm')?.setAttribute('title', t('crm'))

  $('feed').textContent = t('feed')[state.feed]
  $('feed').className = `state ${state.feed}`
  $('session').hidden = !state.session
  if (state.session) {
    $('session').textContent = t('session')[state.session.state] ?? state.session.state
    $('session').className = `state ${state.session.state}`
    $('session').title = state.session.cause ?? ''
  }
  $('login').hidden = Boolean(feed) && state.feed !== 'refused'
  $('refused').textContent = state.feed === 'refused' ? state.error : ''
  $('notice').hidden = !blocked
  $('notice').textContent = blocked ? t('blocked') : ''

  $('recent').replaceChildren(...pops.map(entry))
  $('call').hidden = !shown
  $('waiting').hidden = Boolean(shown)
  document.title = shown ? `${numberOf(shown)} · ${agent}` : `${agent} · ${server}`
  if (!shown) return

  const pop = shown
  const { call = {}, ivr = {} } = pop
  $('mode').textContent = modeOf(pop)
  $('mode').className = `badge ${pop.direction ?? ''}`
  $('late').hidden = !pops.find((known) => known.pop.id === pop.id)?.late
  $('received').textContent = clock(pop.received_at)
  $('received').dateTime = pop.received_at
  $('number').textContent = spaced(numberOf(pop))
  $('e164').textContent = pop.customer?.e164 ?? ''
  $('open').hidden = !template
  $('copy').hidden = !pop.customer?.number || !navigator.clipboard
  facts($('facts'), [
    [t('started'), call.started_at && clock(call.started_at)], [t('sn'), call.sn],
    [t('id'), call.id && (call.id_derived ? `${call.id} (${t('derived')})` : call.id)],
    [t('line'), call.line], [t('from'), call.transferred_from],
  ])
  const fields = Object.entries(ivr.fields ?? {})
  const gathered = [[t('keys'), ivr.keys], [t('member'), ivr.member], ...fields]
  if (!fields.length) gathered.push([t('data'), ivr.data])
  facts($('fields'), gathered)
  $('ivr').hidden = !$('fields').children.length
  const earlier = pops.filter((known) => known.pop.id !== pop.id && known.pop.received_at < pop.received_at &&
    (known.pop.key === pop.key || (customerOf(pop) && customerOf(known.pop) === customerOf(pop))))
  $('history').replaceChildren(...earlier.map(entry))
  $('first').hidden = earlier.length > 0
}

// keep adds pops to those known, each once.
const keep = (...more) => {
  const known = new Set(pops.map(({ pop }) => pop.id))
  pops.push(...more.filter(({ pop }) => !known.has(pop.id)))
  pops.sort((a, b) => (a.pop.id < b.pop.id ? 1 : -1)) // ids sort by time
  pops = pops.slice(0, most)
}

// What this page did not see live: the calls before it was opened.
const catchUp = async () => {
  try {
    const latest = await feed.latest(since)
    keep(...latest.pops)
    shown ??= pops.find(({ late }) => !late)?.pop
    render()
  } catch (error) {
    console.warn('callpop: the recent pops cannot be read:', error.message) // the stream says the same
  }
}

const connect = () => {
  feed?.close()
  feed = CallPop.connect({
    server, agent, token: sessionStorage[slot],
    onPop: (pop) => {
      keep({ pop })
      openCustomer(pop)
      show(pop)
    },
    onLate: (pop) => {
      keep({ pop, late: true })
      render()
    },
    onState: (now) => {
      const wasLive = state.feed === 'live'
      state = now
      if (now.feed === 'live' && !wasLive) catchUp()
      render()
    },
  })
  render()
}

$('login').onsubmit = (event) => {
  event.preventDefault()
  sessionStorage[slot] = $('token').value.trim()
  $('token').value = ''
  state = { feed: 'connecting' }
  connect()
}
$('language').onclick = () => {
  language = language === 'zh' ? 'en' : 'zh'
  localStorage.callpopLanguage = language
  render()
}
$('open').onclick = () => {
  openCustomer(shown)
  render()
}
$('copy').onclick = () => navigator.clipboard.writeText(shown.customer.number)

if (sessionStorage[slot]) connect()
render()
if (!feed) $('token').focus()
