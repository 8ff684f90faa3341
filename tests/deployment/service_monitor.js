// Prints the faults of objects of the Prometheus operator: a JSON list on standard input, each a ServiceMonitor. The schema is
// that of the npm package @kubernetes-models/prometheus-operator, below NODE_PATH.
const { readFileSync } = require("node:fs");
const { dirname, join } = require("node:path");
const { pathToFileURL } = require("node:url");

const folder = dirname(require.resolve("@kubernetes-models/prometheus-operator/package.json"));
const name = "ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1ServiceMonitor.js";

// A copy that notes which fields are read. The schema accepts unknown fields, but does not read them.
function observe(value, path, unread) {
  if (typeof value !== "object" || value === null) return value;
  const copy = Array.isArray(value) ? [] : {};
  for (const key of Object.keys(value)) {
    const field = `${path}/${key}`;
    const inner = observe(value[key], field, unread);
    unread.add(field);
    Object.defineProperty(copy, key, { enumerable: true, get: () => (unread.delete(field), inner) });
  }
  return copy;
}

import(pathToFileURL(join(folder, "_schemas", name)).href).then(({ validate }) => {
  for (const object of JSON.parse(readFileSync(0))) {
    const unread = new Set();
    if (!validate(observe(object, "", unread))) {
      for (const { instancePath, keyword } of validate.errors) console.log(`${instancePath}: ${keyword}`);
    }
    for (const field of unread) console.log(`${field}: unknown`);
  }
});
