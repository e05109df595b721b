// BullMQ beside Syncline: enqueue + run + ack with a processor that does nothing, in one process.
//
// Takes REDIS_URL (a Redis of its own) and JOBS; prints one line of JSON.

import { readFileSync } from "node:fs";
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";

const BATCH = 50;
const PRODUCERS = 4;
const CONCURRENCY = Number(process.env.CONCURRENCY ?? 50);

const jobs = Number(process.env.JOBS);
const url = process.env.REDIS_URL;
if (!url || !(jobs > 0)) throw new Error("REDIS_URL and JOBS must be set");
const version = JSON.parse(readFileSync(new URL("./node_modules/bullmq/package.json", import.meta.url))).version;

const connect = () => new Redis(url, { maxRetriesPerRequest: null });
const control = connect();

async function info(section, names) {
  const text = await control.info(section);
  return names.reduce((sum, name) => sum + Number(text.match(new RegExp(`^${name}:(\\S+)`, "m"))[1]), 0);
}
const cpu = () => info("cpu", ["used_cpu_user", "used_cpu_sys"]);
const memory = () => info("memory", ["used_memory"]);

// As much as a record's id: that is all a check of ours carries. BullMQ's own ids are counters.
const check = (n) => ({ name: "check", data: { id: `profile:01J8ZQ5K${String(n).padStart(18, "0")}` } });
const TWO_HUNDRED = "x".repeat(200);
const work = (n) => ({ name: "check", data: { n, argument: TWO_HUNDRED }, opts: { removeOnComplete: true } });

async function enqueue(queue, from, count, make) {
  for (let n = from; n < from + count; n += BATCH) {
    const size = Math.min(BATCH, from + count - n);
    await queue.addBulk(Array.from({ length: size }, (_, i) => make(n + i)));
  }
}

async function throughput() {
  const queue = new Queue("throughput", { connection: connect() });
  let done = 0;
  let finished;
  const all = new Promise((resolve) => (finished = resolve));
  const worker = new Worker("throughput", async () => {}, { connection: connect(), concurrency: CONCURRENCY });
  worker.on("completed", () => ++done === jobs && finished());
  await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);

  const before = await cpu();
  const started = process.hrtime.bigint();
  const share = Math.ceil(jobs / PRODUCERS);
  await Promise.all(Array.from({ length: PRODUCERS }, (_, i) =>
    enqueue(queue, i * share, Math.max(0, Math.min(share, jobs - i * share)), work)));
  await all;
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  const cpuSeconds = (await cpu()) - before;
  await worker.close();
  await queue.close();
  return { jobs_per_s: jobs / seconds, redis_cpu_us_per_job: (cpuSeconds * 1e6) / jobs };
}

async function bytesPerJob() {
  const queue = new Queue("memory", { connection: connect() });
  await queue.waitUntilReady();
  const before = await memory();
  await enqueue(queue, 0, jobs, check);
  const bytes = ((await memory()) - before) / jobs;
  await queue.close();
  return bytes;
}

const measured = await throughput();
const bytes_per_job = await bytesPerJob();
console.log(JSON.stringify({ name: `BullMQ ${version}`, ...measured, bytes_per_job }));
process.exit(0);
