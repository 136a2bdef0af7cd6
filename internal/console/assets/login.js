// Exchanges the admin token for a cookie that scripts cannot read.
import { t, tag, turn } from './words.js'
import { $, say } from './page.js'

let refused = ''

const translate = () => {
  document.documentElement.lang = tag()
  document.title = `${t('logIn')} · CallPop`
  for (const e of document.querySelectorAll('[data-t]')) say(e, t(e.dataset.t))
  say($('language'), t('other'))
  $('language').lang = tag() === 'en' ? 'zh-CN' : 'en'
  say($('refused'), refused && (t('loginErrors')[refused] ?? t('loginErrors').other))
}

const logIn = async (token) => {
  refused = ''
  translate()
  try {
    const response = await fetch('/console/session', {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ token }),
    })
    if (response.ok) {
      location.replace('/console/')
      return
    }
    refused = (await response.json()).error
  } catch {
    refused = 'other'
  }
  translate()
  $('token').focus()
  $('token').select()
}

$('language').onclick = () => {
  turn()
  translate()
}
$('form').onsubmit = (event) => {
  event.preventDefault()
  logIn($('token').value.trim())
}

// A token behind the # of the address, which browsers do not send, as connector demo
// prints it. It leaves the address at once.
const given = new URLSearchParams(location.hash.slice(1)).get('token')
if (given) {
  history.replaceState(null, '', location.pathname + location.search)
  logIn(given)
}
translate()

const { log_in: needed, logged_in: already } = await fetch('/console/session').then((a) => a.json(), () => ({ log_in: true }))
if (already && !given) location.replace('/console/')
$('form').hidden = !needed
$('no-login').hidden = needed
if (needed) $('token').focus()
