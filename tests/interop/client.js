// A client that knows an address and nothing else: it learns the contract from the server by reflection, so it also
// proves that reflection tells all of it. Reads a scenario as JSON from stdin, prints what came back as JSON.
//
//   node client.js HOST:PORT < scenario.json
//
//   {
//     "tensor":  {"model": "linear", "name": "features", "rows": [[…], …]},         float32, sent as raw bytes
//     "columns": {"model": "mixed", "values": {"a": [1.5], "s": ["x", null]}},      typed lists with gaps
//     "wrong":   {"model": "linear", "name": "nope", "rows": [[…]]}                 to be refused
//   }
"use strict";

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const path = require("node:path");

const OPTIONS = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true };
const DEADLINE_MS = 20000;

const deadline = () => ({ deadline: Date.now() + DEADLINE_MS });

/** Ask the reflection service one question after another; resolves to the answers in order. */
function reflect(address, questions) {
  const definition = loader.loadSync(path.join(__dirname, "reflection.proto"), OPTIONS);
  const { ServerReflection } = grpc.loadPackageDefinition(definition).grpc.reflection.v1alpha;
  const client = new ServerReflection(address, grpc.credentials.createInsecure());
  return new Promise((resolve, reject) => {
    const call = client.ServerReflectionInfo(new grpc.Metadata(), deadline());
    const answers = [];
    call.on("data", (answer) => answers.push(answer));
    call.on("error", reject);
    call.on("end", () => resolve(answers));
    questions.forEach((question) => call.write(question));
    call.end();
  }).finally(() => client.close());
}

/** Names of all services, and a package of stubs built from the descriptors that the server sent. */
async function discover(address) {
  const [listed] = await reflect(address, [{ list_services: "" }]);
  const names = listed.list_services_response.service.map((service) => service.name).sort();
  const answers = await reflect(address, names.map((name) => ({ file_containing_symbol: name })));
  const files = new Map();
  for (const answer of answers) {
    if (answer.error_response) throw new Error(`reflection: ${answer.error_response.error_message}`);
    for (const file of answer.file_descriptor_response.file_descriptor_proto) files.set(file.toString("base64"), file);
  }
  // A FileDescriptorSet is one field: `repeated FileDescriptorProto file = 1`.
  const set = Buffer.concat([...files.values()].flatMap((file) => [Buffer.from([0x0a, ...varint(file.length)]), file]));
  return { names, packages: grpc.loadPackageDefinition(loader.loadFileDescriptorSetFromBuffer(set, OPTIONS)) };
}

function varint(number) {
  const bytes = [];
  for (; number > 127; number >>>= 7) bytes.push((number & 127) | 128);
  return [...bytes, number];
}

/** Rows of numbers as one float32 tensor: row-major, little-endian, whatever this machine is. */
function tensorOf(name, rows) {
  const data = Buffer.alloc(rows.length * rows[0].length * 4);
  rows.flat().forEach((number, place) => data.writeFloatLE(number, place * 4));
  return { name, dtype: "DATA_TYPE_FLOAT32", shape: [rows.length, rows[0].length], data };
}

/** A list of numbers or strings, null for a gap, as one typed column. */
function columnOf(name, values) {
  const isText = values.some((value) => typeof value === "string");
  const filled = values.map((value) => value ?? (isText ? "" : 0));
  const missing = values.flatMap((value, row) => (value === null ? [row] : []));
  return { name, missing, [isText ? "strings" : "doubles"]: { values: filled } };
}

/** A tensor of a reply as a plain array of its elements. */
function elementsOf(tensor) {
  const read = {
    DATA_TYPE_FLOAT32: [4, (at) => tensor.data.readFloatLE(at)],
    DATA_TYPE_FLOAT64: [8, (at) => tensor.data.readDoubleLE(at)],
    DATA_TYPE_INT64: [8, (at) => Number(tensor.data.readBigInt64LE(at))],
  }[tensor.dtype];
  if (tensor.dtype === "DATA_TYPE_STRING") return tensor.strings.map((text) => text.toString("utf8"));
  if (!read) throw new Error(`no reader for ${tensor.dtype}`);
  return Array.from({ length: tensor.data.length / read[0] }, (_, place) => read[1](place * read[0]));
}

function answerOf(reply) {
  const outputs = Object.fromEntries(
    reply.outputs.map((tensor) => [tensor.name, { shape: tensor.shape, values: elementsOf(tensor) }]),
  );
  return { model: reply.model, version: reply.version, request_id: reply.request_id, outputs };
}

/** One call with one answer; a refusal is an answer too. */
function ask(client, method, request) {
  return new Promise((resolve) => {
    client[method](request, new grpc.Metadata(), deadline(), (error, reply) =>
      resolve(error ? { refused: grpc.status[error.code], detail: error.details } : reply),
    );
  });
}

/** All requests on one stream; resolves to the answers by request id. */
function stream(client, requests) {
  return new Promise((resolve, reject) => {
    const call = client.PredictStream(new grpc.Metadata(), deadline());
    const answers = {};
    call.on("data", (reply) => {
      answers[reply.request_id] =
        reply.result === "error"
          ? { refused: grpc.status[reply.error.code], detail: reply.error.message }
          : answerOf(reply.response);
    });
    call.on("error", reject);
    call.on("end", () => resolve(answers));
    requests.forEach((request) => call.write(request));
    call.end();
  });
}

/** The same rows in the words of the Open Inference Protocol: as a list, and as raw bytes. */
async function inferBothWays(client, { model, name, rows }) {
  const shape = [rows.length, rows[0].length];
  const described = { name, datatype: "FP32", shape };
  const asList = { model_name: model, id: "7", inputs: [{ ...described, contents: { fp32_contents: rows.flat() } }] };
  const asBytes = { model_name: model, inputs: [described], raw_input_contents: [tensorOf(name, rows).data] };
  const [listed, raw] = [await ask(client, "ModelInfer", asList), await ask(client, "ModelInfer", asBytes)];
  const place = raw.outputs.findIndex((output) => output.name === "score");
  const bytes = raw.raw_output_contents[place];
  return {
    id: listed.id,
    listed: listed.outputs.find((output) => output.name === "score").contents.fp32_contents,
    raw: Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(at * 4)),
  };
}

/** And in TensorFlow Serving's, whose maps are lists of entries to a client that knows them by reflection. */
async function predictAsTensorFlow(client, { model, name, rows }) {
  const sizes = [rows.length, rows[0].length].map((size) => ({ size }));
  const tensor = { dtype: "DT_FLOAT", tensor_shape: { dim: sizes }, float_val: rows.flat() };
  const reply = await ask(client, "Predict", { model_spec: { name: model }, inputs: [{ key: name, value: tensor }] });
  const score = reply.outputs.find((output) => output.key === "score").value;
  return { version: reply.model_spec.version.value, score: score.float_val };
}

async function main(address, scenario) {
  const { names, packages } = await discover(address);
  const open = (Service) => new Service(address, grpc.credentials.createInsecure());
  const predictions = open(packages.skylane.v1.PredictionService);
  const models = open(packages.skylane.v1.ModelService);
  const health = open(packages.grpc.health.v1.Health);
  const triton = open(packages.inference.GRPCInferenceService);
  const tensorflow = open(packages.tensorflow.serving.PredictionService);

  const tensor = ({ model, name, rows }, request_id) => ({ model, request_id, tensors: [tensorOf(name, rows)] });
  const columns = ({ model, values }, request_id) => ({
    model,
    request_id,
    columns: Object.entries(values).map(([name, list]) => columnOf(name, list)),
  });
  const answered = (reply) => (reply.refused ? reply : answerOf(reply));

  const described = await ask(models, "GetModel", { model: scenario.columns.model });
  const report = {
    services: names,
    health: (await ask(health, "Check", { service: "" })).status,
    models: (await ask(models, "ListModels", {})).models.map((model) => model.name).sort(),
    described: described.model.columns.map((column) => column.name),
    tensor: answered(await ask(predictions, "Predict", tensor(scenario.tensor, "one"))),
    columns: answered(await ask(predictions, "Predict", columns(scenario.columns, "two"))),
    wrong: answered(await ask(predictions, "Predict", tensor(scenario.wrong, "three"))),
    stream: await stream(predictions, [
      tensor(scenario.tensor, "first"),
      columns(scenario.columns, "second"),
      tensor(scenario.wrong, "third"),
      tensor(scenario.tensor, "fourth"),
    ]),
    inferred: await inferBothWays(triton, scenario.tensor),
    tensorflow: await predictAsTensorFlow(tensorflow, scenario.tensor),
  };
  [predictions, models, health, triton, tensorflow].forEach((client) => client.close());
  return report;
}

let input = "";
process.stdin.on("data", (text) => (input += text));
process.stdin.on("end", () =>
  main(process.argv[2], JSON.parse(input)).then(
    (report) => console.log(JSON.stringify(report)),
    (error) => {
      console.error(error.stack);
      process.exitCode = 1;
    },
  ),
);
