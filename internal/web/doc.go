// Package web serves the connector's HTTP: on the health listener, for probes and
// Prometheus,
//
//   - /livez, which answers 200 while the process serves;
//   - /readyz, which answers 200 once the listeners and the spool serve, else 503,
//     with a [Readiness] as its body; /readyz?full answers 503 on every problem
//     that the body lists, brokers and LQ servers that are away among them;
//   - /metrics, in the formats of Prometheus.
//
// The public and the admin listener serve handlers of other packages; here are
// their addresses, their limits and, of the admin one, who may come in.
//
// The health listener answers GET and HEAD. Nothing on it is personal or secret: no
// customer, no credential, and no agent but for one that a mistake in the
// configuration is about; it may listen anywhere.
package web
