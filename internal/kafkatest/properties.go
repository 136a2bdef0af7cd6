package kafkatest

import (
	"fmt"
	"strconv"
	"strings"
)

// ScramPassword is User's password for SCRAM. It is plainer than Password:
// Kafka's storage tool takes neither commas nor quotes.
const ScramPassword = "scram-password"

// properties are those of the broker's server.properties.
func (b *Broker) properties() map[string]string {
	brokers := b.cluster.brokers
	replicas := strconv.Itoa(min(len(brokers), 3))
	var voters []string
	for _, peer := range brokers {
		voters = append(voters, fmt.Sprintf("%d@%s", peer.ID, peer.address(controller)))
	}
	var listeners, advertised, protocols []string
	for l, name := range listenerNames {
		at := name + "://" + b.address(listener(l))
		listeners = append(listeners, at)
		if listener(l) != controller {
			advertised = append(advertised, at)
		}
	}
	for name, protocol := range map[listener]string{
		open: "PLAINTEXT", sasl: "SASL_PLAINTEXT", tls: "SSL", mtls: "SSL", controller: "PLAINTEXT",
	} {
		protocols = append(protocols, listenerNames[name]+":"+protocol)
	}
	p := map[string]string{
		"process.roles":                            "broker,controller",
		"node.id":                                  strconv.Itoa(b.ID),
		"controller.quorum.voters":                 strings.Join(voters, ","),
		"listeners":                                strings.Join(listeners, ","),
		"advertised.listeners":                     strings.Join(advertised, ","),
		"listener.security.protocol.map":           strings.Join(protocols, ","),
		"controller.listener.names":                listenerNames[controller],
		"inter.broker.listener.name":               listenerNames[open],
		"log.dirs":                                 b.dir + "/data",
		"offsets.topic.replication.factor":         replicas,
		"offsets.topic.num.partitions":             "5",
		"transaction.state.log.replication.factor": replicas,
		"transaction.state.log.min.isr":            "1",
		"group.initial.rebalance.delay.ms":         "0",
		"log.cleaner.dedupe.buffer.size":           "2097152",
		"auto.create.topics.enable":                "false",
		// A killed broker is taken back after this, no sooner; one that starves
		// for so long on a busy machine is taken for dead.
		"broker.session.timeout.ms":    "6000",
		"broker.heartbeat.interval.ms": "500",
		// Tests make up the times of their records: none is too old to be kept.
		"log.retention.ms": "-1",
		// Denials can be added for a topic; without any, everybody may all.
		"authorizer.class.name":                     "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"allow.everyone.if.no.acl.found":            "true",
		"super.users":                               "User:ANONYMOUS",
		"connection.failed.authentication.delay.ms": "0",
	}
	b.addSASL(p)
	for _, l := range []listener{tls, mtls} {
		prefix := listenerPrefix(l) + "ssl."
		p[prefix+"keystore.type"] = "PEM"
		p[prefix+"keystore.location"] = b.cluster.creds.files.server
		p[prefix+"truststore.type"] = "PEM"
		p[prefix+"truststore.location"] = b.cluster.creds.files.CA
	}
	p[listenerPrefix(mtls)+"ssl.client.auth"] = "required"
	return p
}

// addSASL adds the four mechanisms of the SASL listener. Tokens are checked by
// Kafka's own validator against the key set in a file.
func (b *Broker) addSASL(p map[string]string) {
	prefix := listenerPrefix(sasl)
	p[prefix+"sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"
	const modules = "org.apache.kafka.common.security."
	p[prefix+"plain.sasl.jaas.config"] = fmt.Sprintf("%splain.PlainLoginModule required user_%s=%q;", modules, User, Password)
	p[prefix+"scram-sha-256.sasl.jaas.config"] = modules + "scram.ScramLoginModule required;"
	p[prefix+"scram-sha-512.sasl.jaas.config"] = modules + "scram.ScramLoginModule required;"
	p[prefix+"oauthbearer.sasl.jaas.config"] = modules + "oauthbearer.OAuthBearerLoginModule required;"
	p[prefix+"oauthbearer.sasl.server.callback.handler.class"] = modules + "oauthbearer.OAuthBearerValidatorCallbackHandler"
	// Without these two at the listener's own level, the handler checks a token's
	// form and not its signature.
	p[prefix+"sasl.oauthbearer.jwks.endpoint.url"] = b.jwksURL()
	p[prefix+"sasl.oauthbearer.jwt.validator.class"] = modules + "oauthbearer.BrokerJwtValidator"
}

func listenerPrefix(l listener) string {
	return "listener.name." + strings.ToLower(listenerNames[l]) + "."
}

// escapeProperty writes a value for java.util.Properties, which takes files as
// Latin-1 and the backslash as an escape.
func escapeProperty(value string) string {
	var b strings.Builder
	for _, r := range value {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r > 0x7E && r <= 0xFFFF:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
