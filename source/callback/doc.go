// Package callback is the source that the LQ client's custURL leads to (manual,
// chapter 3, mode 1): an HTTP endpoint that takes each pop as the parameters of a
// GET, or of a form that is POSTed.
//
// # Answers
//
// The agent's page must open. So a pop is answered as soon as it is stored, or
// after 3 ms, whichever is first; it goes on being stored. The answer is 302 to
// the configured address of the CRM (303 to a POST), or 204 where there is none.
// A query that is no pop becomes a dead letter and gets the same answer, with what
// is known of the call in the CRM's address and the rest empty. A query of nothing
// at all, as a probe sends, is answered and not kept.
//
// Other answers: 403 to an address that is not allowed and to a missing or wrong
// secret, 405 to other methods (HEAD and OPTIONS get 204 and keep nothing), 413
// and 414 beyond 16 KiB of body or address, 415 to a body that is no form, 404 to
// any other path.
//
// # Whom to trust
//
// A browser asks whatever address a page tells it to, also from inside an allowed
// network: a page from anywhere can make an agent's browser send a made-up pop. A
// secret keeps that out, an allow-list alone does not. custURL can carry nothing
// but parameters, so the secret may be one; it is taken out of the query before
// anything is made of it, and reaches no event, log or redirect. No header such as
// X-Forwarded-For is believed: behind a proxy, allow the proxy and use a secret.
//
// # Sharing a listener
//
// Sources with the same listen address and paths of their own share one listener,
// see [Servers].
package callback
