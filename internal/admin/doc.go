// Package admin is the HTTP API for operators and their tools, such as a CRM that
// signs agents in and out:
//
//	GET    /v1/servers                        the LQ servers and their sessions
//	GET    /v1/servers/{server}/agents        the roster, with each agent's session
//	PUT    /v1/servers/{server}/agents        another roster, in place of the configured one
//	DELETE /v1/servers/{server}/agents        the configured roster again
//	GET    /v1/servers/{server}/agents/{id}   one agent
//	PUT    /v1/servers/{server}/agents/{id}   add the agent, or change the channel
//	DELETE /v1/servers/{server}/agents/{id}   remove the agent
//	POST   /v1/reload                         read the configuration again
//
// Answers are JSON; an error is {"error": "…"}. Where a server has several session
// sources, ?source=NAME says which one is meant. Who may call is the business of
// the listener. No answer has a customer's number in it.
package admin
