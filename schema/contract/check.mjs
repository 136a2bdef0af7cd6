// Checks the event contracts of the directory above: that each is valid, and that
// none would break a consumer who was built against an earlier version.
//
//   node check.mjs [DIRECTORY OF THE EARLIER VERSION]
//
// Prints one line a check; exit code 1 if one failed.
import { readFileSync, readdirSync, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Parser } from "@asyncapi/parser";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import yaml from "js-yaml";
import { initSync, check_compat } from "jsoncompat";

const here = dirname(fileURLToPath(import.meta.url));
const current = dirname(here);
const earlier = process.argv[2];
initSync({ module: readFileSync(join(here, "node_modules/jsoncompat/jsoncompat_wasm_bg.wasm")) });

let failed = 0;
function report(name, problems) {
  console.log(`${problems.length ? "FAILED" : "ok    "}  ${name}`);
  for (const problem of problems) console.log(`          ${problem}`);
  if (problems.length) failed++;
}

const read = (directory, name) => readFileSync(join(directory, name), "utf8");
const schemaFiles = (directory) => readdirSync(directory).filter((name) => /^callpop.*\.json$/.test(name)).sort();

// The parser checks the document and its references, but no payload schema of
// draft 2020-12: those, and the examples against them, are checked with ajv.
async function validity() {
  const { diagnostics } = await new Parser().parse(read(current, "asyncapi.yaml"), { source: join(current, "asyncapi.yaml") });
  report("asyncapi.yaml is a valid AsyncAPI document", diagnostics
    .filter((d) => d.severity <= 1) // errors and warnings
    .filter((d) => !["asyncapi-latest-version"].includes(d.code))
    .map((d) => `${d.path.join("/")}: ${d.message}`));

  const ajv = new Ajv2020({ strict: true, allErrors: true });
  addFormats(ajv);
  const bodies = {};
  for (const name of schemaFiles(current)) {
    try {
      bodies[name] = ajv.compile(JSON.parse(read(current, name)));
      report(`${name} is a valid JSON Schema`, []);
    } catch (error) {
      report(`${name} is a valid JSON Schema`, [error.message]);
    }
  }
  for (const [name, message] of Object.entries(yaml.load(read(current, "asyncapi.yaml")).components.messages)) {
    const problems = [];
    const headers = ajv.compile(message.headers);
    const payload = bodies[message.payload.schema.$ref.replace("./", "")];
    for (const example of message.examples) {
      if (!headers(example.headers)) problems.push(`headers: ${ajv.errorsText(headers.errors)}`);
      if (!payload?.(example.payload)) problems.push(`payload: ${payload ? ajv.errorsText(payload.errors) : "its schema is not valid"}`);
    }
    report(`the example of ${name} is valid by its own schemas`, problems);
  }
}

// What a consumer of the earlier version accepts must hold for everything that is
// written now: the schema narrows or stays, with additions where content is open.
function bodyProblems(before, after) {
  if (before.$id !== after.$id) return [`$id was ${before.$id}, is ${after.$id}`];
  return compatible(before, after) ? [] : ["what is published now need not be valid by the earlier schema"];
}

// The library refuses keywords that it does not judge; an $id changes nothing.
function compatible(before, after) {
  const bare = ({ $id, ...rest }) => JSON.stringify(rest);
  return check_compat(bare(before), bare(after), "serializer");
}

const prose = new Set(["description", "summary", "title", "examples", "info", "asyncapi", "tags", "externalDocs"]);

// Whatever the earlier document says must still be said, in the same words, but
// for prose; headers are judged as bodies are.
function documentProblems(before, after, path = "") {
  if (path.endsWith("/headers")) {
    return after && compatible(before, after)
      ? missingHeaders(before, after, path) : [`${path}: the headers of now need not be valid by the earlier schema`];
  }
  if (before === null || typeof before !== "object") {
    return before === after ? [] : [`${path}: was ${JSON.stringify(before)}, is ${JSON.stringify(after)}`];
  }
  if (after === null || typeof after !== "object") return [`${path}: is gone`];
  return Object.keys(before).filter((key) => !prose.has(key))
    .flatMap((key) => documentProblems(before[key], after[key], `${path}/${key}`));
}

// A header that consumers may rely on stays, although its absence would be valid.
const missingHeaders = (before, after, path) => Object.keys(before.properties ?? {})
  .filter((name) => !(name in (after.properties ?? {}))).map((name) => `${path}: ${name} is gone`);

// A property that is no longer written breaks whoever reads it, although its
// absence would be valid.
function missingProperties(before, after, path = "") {
  if (before === null || typeof before !== "object") return [];
  return Object.entries(before).flatMap(([key, value]) => {
    if (key === "properties") {
      return Object.keys(value).filter((name) => !(name in (after?.properties ?? {}))).map((name) => `${path}: ${name} is gone`)
        .concat(missingProperties(value, after?.properties ?? {}, path));
    }
    return missingProperties(value, after?.[key] ?? {}, `${path}/${key}`);
  });
}

function compatibility() {
  for (const name of schemaFiles(earlier)) {
    const title = `${name} breaks no consumer of the earlier version`;
    if (!existsSync(join(current, name))) {
      report(title, ["it is gone"]);
      continue;
    }
    const before = JSON.parse(read(earlier, name)), after = JSON.parse(read(current, name));
    report(title, [...bodyProblems(before, after), ...missingProperties(before, after)]);
  }
  if (existsSync(join(earlier, "asyncapi.yaml"))) {
    report("asyncapi.yaml breaks no consumer of the earlier version",
      documentProblems(yaml.load(read(earlier, "asyncapi.yaml")), yaml.load(read(current, "asyncapi.yaml"))));
  }
}

// The check itself is tried on changes of which it is known whether they break.
function selfTest() {
  const before = JSON.parse(read(current, "callpop.v1.json"));
  const document = yaml.load(read(current, "asyncapi.yaml"));
  const schemaChanges = [
    ["a new field", true, (s) => { s.properties.mood = { type: "string" }; }],
    ["another description", true, (s) => { s.properties.key.description = "x"; }],
    ["a field that is always there now", true, (s) => { s.required.push("customer"); }],
    ["a field that may be absent now", false, (s) => { s.required = s.required.filter((name) => name !== "key"); }],
    ["a field that is gone", false, (s) => { delete s.properties.direction; }],
    ["a field of another type", false, (s) => { s.properties.key.type = "number"; }],
    ["a new word in a closed list", false, (s) => { s.properties.format.enum.push("t1v6"); }],
    ["a nested field that is gone", false, (s) => { delete s.$defs.Customer.properties.e164; }],
  ];
  const documentChanges = [
    ["a new channel", true, (d) => { d.channels.more = d.channels.callPopNATS; }],
    ["another title", true, (d) => { d.channels.callPopNATS.title = "x"; }],
    ["a new header", true, (d) => { d.components.messages.callPopNATS.headers.properties["ce-more"] = { type: "string" }; }],
    ["another address", false, (d) => { d.channels.callPopNATS.address = "pop.{server}"; }],
    ["a channel that is gone", false, (d) => { delete d.channels.deadLetterKafka; }],
    ["a header that is gone", false, (d) => { delete d.components.messages.callPopKafka.headers.properties.traceparent; }],
    ["a header that may be absent now", false, (d) => { d.components.messages.callPopKafka.headers.required = []; }],
  ];
  const problems = [];
  for (const [name, good, change] of schemaChanges) {
    const after = structuredClone(before);
    change(after);
    const found = [...bodyProblems(before, after), ...missingProperties(before, after)];
    if ((found.length === 0) !== good) problems.push(`${name}: found ${JSON.stringify(found)}`);
  }
  for (const [name, good, change] of documentChanges) {
    const after = structuredClone(document);
    change(after);
    const found = documentProblems(document, after);
    if ((found.length === 0) !== good) problems.push(`${name}: found ${JSON.stringify(found)}`);
  }
  report(`${schemaChanges.length + documentChanges.length} changes are judged as they should be`, problems);
}

await validity();
selfTest();
if (earlier) compatibility();
else console.log("ok      there is no earlier version to be compatible with");
process.exit(failed ? 1 : 0);
