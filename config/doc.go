// Package config reads the connector's configuration. What goes in is a YAML file,
// the environment and the flags of a command, each layer over the one before it
// and all of them over the defaults; what comes out is a [Config] that has been
// checked, or every mistake that was found, one clear line each.
//
// The parts of a Config belong to the packages that they configure: plain structs
// with a default and a Validate method. This package alone knows how they are
// written down. [Sample] is a file with every key, its default and its reason.
//
// # File
//
// One YAML document of at most 4 MiB. Nothing in it is guessed: a key that is not
// known, in the wrong case, given twice or without a value is a mistake, and so is
// a value of another type, a duration without its unit, or text without quotes
// that reads as a number. Anchors, aliases and merge keys (<<) may be used.
//
// ${NAME} within a text stands for a variable of the environment, which must be
// set; what it brings is taken as it is, never read as YAML or expanded again.
// Where a number, a size or true and false are expected, it may stand for those,
// and where a list of texts is, for the whole list with commas between. $${ is a
// literal ${.
//
// Every secret has a second key, its own with _file behind it (password and
// password_file): the path of a file that holds the secret. Line ends at the end
// of the file are not part of it. At most one of the two is given.
//
// # Environment
//
// CONNECTOR_SPOOL__MAX_AGE sets spool.max_age: two underscores part the key's
// names. The entries of sources and sinks are set in the file alone, where ${NAME}
// takes what differs between installations from the environment.
//
// A variable that starts with CONNECTOR_ and sets nothing is a mistake, since a
// slip of the finger would leave the default in force unseen. Excepted are those
// that the file names in ${…}, and those that Kubernetes makes for a Service whose
// name starts with connector (CONNECTOR_SERVICE_HOST, CONNECTOR_PORT_8080_TCP and
// the like), as long as they have the form of such a link: a pod without
// enableServiceLinks: false must start all the same.
package config
