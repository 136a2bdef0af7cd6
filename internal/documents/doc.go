// Package documents holds the tests of the README and of docs: the reference of the
// events is that of the schemas, both languages say the same, and the README's
// commands run.
package documents
