/* callpop.js: an agent's pops, live in a web page. Types: callpop.d.ts
 * CallPop.connect({server: 'hq', agent: '801', token: '…', onPop(pop) {…}, onState(state) {…}}) */
window.CallPop = (() => {
  'use strict'
  const here = new URL('.', document.currentScript?.src ?? location).href

  // Makes each {customer.number} that field of the pop, escaped; nothing where it has none.
  const url = (template, pop) => template.replace(/\{([^{}]+)\}/g, (_, path) => {
    let at = pop
    for (const key of path.split('.')) at = Object(at) === at && Object.hasOwn(at, key) ? at[key] : ''
    return Object(at) === at ? '' : encodeURIComponent(at)
  })

  // Opens the CRM's page as custURL did, in the one window or frame of this name.
  // Null: the browser blocks windows.
  const open = (template, pop, target = 'callpop', features) => {
    const opened = window.open(url(template, pop), target, features)
    if (opened?.parent === opened) opened?.focus()
    return opened
  }

  const connect = (options) => {
    const { server, agent, base = here, target = document } = options
    const path = base + ['v1', 'servers', server, 'agents', agent, 'pops'].map(encodeURIComponent).join('/')
    let closed, abort, timer, wake, last, quiet = 45, tries = 0, state = { feed: 'connecting' }
    const seen = []

    // The last id outlives a reload of the tab: nothing is lost, nothing pops twice.
    const store = (id) => { last = id; try { sessionStorage[path] = id } catch { /* not allowed */ } }
    try { last = sessionStorage[path] } catch { /* not allowed */ }

    const tell = (name, handler, detail) => {
      try { handler?.(detail) } catch (e) { reportError(e) }
      target.dispatchEvent(new CustomEvent(name, { detail }))
    }
    const change = (news) => tell('callpopstate', options.onState, state = { ...state, error: undefined, ...news })

    const take = (name, id, data) => {
      if (id) store(id) // first: what makes the page fail must not come for ever
      if (!data) return
      const body = JSON.parse(data)
      if (name === 'ready') { tries = 0; quiet = 3 * body.heartbeat_seconds; change({ feed: 'live', resume: body.resume }) }
      if (name === 'session') change({ session: body })
      if (!/^(pop|late)$/.test(name) || seen.includes(body.id)) return
      if (seen.push(body.id) > 99) seen.shift()
      if (name === 'pop') tell('callpop', options.onPop, body)
      else tell('callpoplate', options.onLate, body) // to be listed, not popped
    }

    // Three heartbeats missing: the connection is dead.
    const watch = () => {
      clearTimeout(timer)
      timer = setTimeout(() => abort.abort(), quiet * 1e3)
    }

    const ask = async (what, init = {}) => {
      const { token } = options
      init.headers = { ...init.headers, Authorization: 'Bearer ' + (token.call ? await token() : token) }
      const answer = await fetch(path + what, { cache: 'no-store', ...init })
      if (answer.ok) return answer
      throw Object.assign(Error((await answer.text()).trim()), { status: answer.status })
    }
    const since = (when) => when ? '?since=' + encodeURIComponent(when) : ''

    const stream = async () => {
      const headers = last ? { 'Last-Event-ID': last } : {}
      const { body } = await ask(since(options.since), { headers, signal: abort.signal })
      const reader = body.pipeThrough(new TextDecoderStream()).getReader()
      for (let rest = '', event = {}; ;) {
        const { value, done } = await reader.read()
        if (done) return
        watch()
        const lines = (rest + value).split('\n')
        rest = lines.pop()
        for (const line of lines) {
          const [, key, text] = /^(\w+): (.*)/.exec(line) ?? []
          if (key) event[key] = text
          if (!line) { take(event.event, event.id, event.data); event = {} }
        }
      }
    }

    const run = async () => {
      while (!closed) {
        abort = new AbortController()
        watch()
        const error = await stream().catch((e) => e)
        clearTimeout(timer)
        if (closed) return
        if (error?.status === 400) store('') // no place of ours
        // A refused token stays refused; a function may have another one.
        if (/40[134]/.test(error?.status) && !options.token.call) return change({ feed: 'refused', error: error.message })
        change({ feed: 'waiting', error: error?.message })
        // At random: a thousand pages must not come back at once.
        await new Promise((done) => setTimeout(wake = done, 500 + Math.random() * Math.min(3e4, 1e3 * 2 ** tries++)))
      }
    }
    run()

    return {
      get state() { return state },
      // The newest pop, or those since a time or for a while ('2h'), the newest first.
      latest: async (when) => (await ask('/latest' + since(when))).json(),
      close: () => { closed = true; abort.abort(); wake?.(); change({ feed: 'closed' }) },
    }
  }

  return { connect, open, url }
})()
