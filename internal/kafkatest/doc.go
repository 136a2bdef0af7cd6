// Package kafkatest runs a real Apache Kafka for tests: one or more brokers in
// KRaft mode, started from the jars of Maven Central on free ports of the
// loopback address, with a small heap and their data in a temporary directory.
//
// Every broker has four listeners: one open to anybody, one that asks for SASL
// (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER), one with TLS and one that
// asks for the client's certificate too. The certificates, the users and the key
// that signs tokens are made for each cluster.
//
// It needs Java 17 or newer and Maven. The jars are fetched once, by Maven, and
// kept in the user's cache directory. Where something is missing the test is
// skipped with a line that says what; with CI=true it fails instead.
//
// KAFKA_BROKERS names brokers that run already: [Shared] then uses those, and
// the tests that need a listener of their own kind are skipped. KAFKA_VERSION
// chooses another version of Kafka.
package kafkatest
