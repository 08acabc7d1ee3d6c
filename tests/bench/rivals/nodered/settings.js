// Node-RED without editor and projects: its flows alone. The environment names the port.
module.exports = {
  uiHost: "127.0.0.1",
  uiPort: Number(process.env.PORT),
  httpAdminRoot: false,
  flowFile: "flows.json",
  credentialSecret: false,
  diagnostics: { enabled: false },
  telemetry: { enabled: false },
  logging: { console: { level: "warn" } },
};
