package telemetry

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// serviceName is service.name where the environment gives none.
const serviceName = "callpop-connector"

// newResource describes this process: what it knows of itself, then
// OTEL_RESOURCE_ATTRIBUTES, then OTEL_SERVICE_NAME; the later ones win.
func newResource(ctx context.Context, o Options) (*resource.Resource, error) {
	attributes := []attribute.KeyValue{
		semconv.ServiceName(serviceName),
		// A new one with each start, as the conventions have it where nothing better
		// is known; a pod's name or the like comes by OTEL_RESOURCE_ATTRIBUTES.
		semconv.ServiceInstanceID(uuid.NewString()),
	}
	if o.Version != "" {
		attributes = append(attributes, semconv.ServiceVersion(o.Version))
	}
	given, err := resourceAttributes(o.Getenv("OTEL_RESOURCE_ATTRIBUTES"))
	if err != nil {
		return nil, err
	}
	attributes = append(attributes, given...)
	if name := strings.TrimSpace(o.Getenv("OTEL_SERVICE_NAME")); name != "" {
		attributes = append(attributes, semconv.ServiceName(name))
	}
	res, err := resource.New(ctx,
		resource.WithSchemaURL(semconv.SchemaURL),
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithAttributes(attributes...),
	)
	if err != nil {
		return nil, fmt.Errorf("describe the process to OpenTelemetry: %w", err)
	}
	return res, nil
}

// resourceAttributes reads OTEL_RESOURCE_ATTRIBUTES: key=value pairs, parted by
// commas, values percent-encoded (OpenTelemetry's resource SDK specification).
// The SDK's own reader takes the process's environment alone.
func resourceAttributes(list string) ([]attribute.KeyValue, error) {
	const expected = "expected key=value pairs parted by commas, with percent-encoded values"
	var attributes []attribute.KeyValue
	for pair := range strings.SplitSeq(list, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		if !found || key == "" {
			return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %q: %s", pair, expected)
		}
		decoded, err := url.PathUnescape(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %q: %s: %w", pair, expected, err)
		}
		attributes = append(attributes, attribute.String(key, decoded))
	}
	return attributes, nil
}
