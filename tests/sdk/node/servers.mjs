// Starts the simulator and the proxy, or takes those that BASE_URL and SIM_URL name; stops what it started.

import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const START_MS = 60_000;

/** Where the SDK talks to (with /v1), where the simulator counts, and how to end both. */
export async function startServers() {
  const direct = Boolean(process.env.DIRECT);
  const started = [];
  const stop = async () => {
    for (const child of started.reverse()) await child.stop();
  };
  try {
    let simUrl = process.env.SIM_URL;
    let baseUrl = process.env.BASE_URL;
    if (baseUrl && !simUrl) throw new Error("BASE_URL needs SIM_URL beside it: the simulator's own address");
    if (!simUrl) {
      const simulator = launch("OUTRIGGER_SIM_BIN", "outrigger-sim", ["--listen", "127.0.0.1:0"], {});
      started.push(simulator);
      simUrl = await until(simulator, () => /listening on (http:\/\/\S+)/.exec(simulator.output())?.[1]);
    }
    let proxy;
    if (!baseUrl && !direct) {
      const [listen, admin] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`);
      proxy = launch("OUTRIGGER_BIN", "outrigger", [], {
        OUTRIGGER_BACKEND: simUrl,
        OUTRIGGER__SERVER__LISTEN: listen,
        OUTRIGGER__SERVER__ADMIN: admin,
        RUST_BACKTRACE: "0",
      });
      started.push(proxy);
      await until(proxy, () => answersOk(`http://${admin}/readyz`));
      baseUrl = `http://${listen}/v1`;
    }
    return {
      baseUrl: baseUrl ?? `${simUrl}/v1`,
      direct,
      stats: async () => (await fetch(`${simUrl}/sim/stats`)).json(),
      proxyOutput: () => proxy?.output().slice(-3000) ?? "",
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function launch(variable, name, parameters, environment) {
  const command = process.env[variable] || path.join(ROOT, "target", "debug", name);
  try {
    accessSync(command, constants.X_OK);
  } catch {
    throw new Error(`no ${name} at ${command}: build it with cargo, or set ${variable}`);
  }
  const child = spawn(command, parameters, {
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const ended = new Promise((resolve) => child.once("close", resolve));
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (piece) => (output += piece));
  return {
    name,
    output: () => output,
    running: () => child.exitCode === null && child.signalCode === null,
    stop: async () => {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await ended;
      clearTimeout(late);
    },
  };
}

async function until(child, found) {
  const deadline = Date.now() + START_MS;
  while (Date.now() < deadline && child.running()) {
    const value = await found();
    if (value) return value;
    await sleep(50);
  }
  throw new Error(`${child.name} did not become ready:\n${child.output()}`);
}

async function answersOk(url) {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}

/** From below the range that outgoing connections are given, so that nobody takes them meanwhile. */
async function freePorts(count) {
  const ports = new Set();
  for (let tried = 0; tried < 1000 && ports.size < count; tried += 1) {
    const port = 28_500 + Math.floor(Math.random() * 3_500);
    const listener = createServer();
    const free = await new Promise((resolve) => {
      listener.once("error", () => resolve(false));
      listener.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!free) continue;
    ports.add(port);
    await new Promise((resolve) => listener.close(resolve));
  }
  if (ports.size < count) throw new Error("no port is free");
  return [...ports];
}
