package config

import (
	"reflect"
	"strings"

	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/source"
)

// field is one key of a struct.
type field struct {
	key   string
	value reflect.Value
	// secretOf is set for a key that names the file of a secret: the secret. value
	// is not valid where the struct has no such field, which leaves the reading of
	// the file to this package.
	secretOf reflect.Value
}

const fileSuffix = "_file"

var (
	secretType = reflect.TypeFor[secret.Value]()
	rosterType = reflect.TypeFor[source.Roster]()
	sourceType = reflect.TypeFor[Source]()
	sinkType   = reflect.TypeFor[Sink]()
)

// fieldsOf are the keys of a struct in the order of its fields, the file of each
// secret right behind it.
func fieldsOf(v reflect.Value) (fields []field) {
	own := map[string]int{}
	for i := range v.NumField() {
		key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("koanf"), ",")
		if key == "" || key == "-" {
			continue
		}
		own[key] = len(fields)
		fields = append(fields, field{key: key, value: v.Field(i)})
	}
	for _, f := range fields {
		if f.value.Type() != secretType {
			continue
		}
		if at, ok := own[f.key+fileSuffix]; ok {
			fields[at].secretOf = f.value
		} else {
			fields = append(fields, field{key: f.key + fileSuffix, secretOf: f.value})
		}
	}
	return fields
}

func keysOf(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

// isSection says whether a value of type t is a mapping of known keys.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != secretType
}

// settings are the keys outside of sources and sinks that hold one value each,
// which is what variables and flags can set.
func settings() map[string]bool {
	keys := map[string]bool{}
	var add func(prefix string, v reflect.Value)
	add = func(prefix string, v reflect.Value) {
		for _, f := range fieldsOf(v) {
			switch {
			case !f.value.IsValid():
				keys[prefix+f.key] = true
			case isSection(f.value.Type()):
				add(prefix+f.key+".", f.value)
			case f.value.Type() != reflect.SliceOf(sourceType) && f.value.Type() != reflect.SliceOf(sinkType) && f.value.Kind() != reflect.Map:
				keys[prefix+f.key] = true
			}
		}
	}
	add("", reflect.ValueOf(&Config{}).Elem())
	return keys
}
