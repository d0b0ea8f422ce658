import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { resolve } from "node:path"
import { Money, percentile, Report, sum } from "../../src/cli/demo/Report.ts"

const executable = resolve(import.meta.dirname, "../../src/cli/main.ts")

const seconds = 90_000

/** Ends a process that connects to anything but this machine. */
const stayHome = `
  import { Socket } from "node:net"
  const connect = Socket.prototype.connect
  Socket.prototype.connect = function(...args) {
    const { host, path } = Array.isArray(args[0]) ? args[0][0] : args[0]
    if (path === undefined && host !== "127.0.0.1") {
      process.stderr.write("connected to " + host)
      process.exit(77)
    }
    return connect.apply(this, args)
  }
`

/** The demo in a process of its own, leader of its group, with an environment that it must not look at. */
const start = (args: ReadonlyArray<string>, environment: { readonly [name: string]: string } = {}) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [executable, "demo", ...args], {
          detached: true,
          stdio: ["ignore", "pipe", "pipe"],
          env: {
            PATH: process.env.PATH,
            NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(stayHome)}`,
            ...environment
          }
        })
      ),
      (child) => Effect.sync(() => signal(-child.pid!, "SIGKILL"))
    ),
    (child) => {
      const ran = { stdout: "", stderr: "" }
      child.stdout.on("data", (chunk) => ran.stdout += chunk)
      child.stderr.on("data", (chunk) => ran.stderr += chunk)
      const ended = new Promise<number | null>((done) => child.on("close", done))
      return {
        ran,
        pid: child.pid!,
        ended: Effect.promise(() => ended),
        /** Until something was written to stderr. */
        wrote: (text: string) =>
          Effect.callback<void>((resume) => {
            const look = () => ran.stderr.includes(text) && resume(Effect.void)
            child.stderr.on("data", look)
            look()
          })
      }
    }
  )

const signal = (pid: number, name: "SIGKILL" | "SIGINT"): boolean => {
  try {
    return process.kill(pid, name)
  } catch {
    return false
  }
}

/** A server that nobody should ask, and how often it was asked. */
const trap = Effect.map(
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; asked: number; readonly close: () => void }>((resume) => {
      const server = createServer((socket) => {
        state.asked++
        socket.destroy()
      })
      const state = { url: "", asked: 0, close: () => server.close() }
      server.listen(0, "127.0.0.1", () => {
        state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
        resume(Effect.succeed(state))
      })
    }),
    ({ close }) => Effect.sync(close)
  ),
  (state) => state
)

describe("the demo", () => {
  it.live(
    "pays exactly, whatever goes wrong, and neither reads the environment nor leaves this machine",
    () =>
      Effect.gen(function*() {
        const foreign = yield* trap
        const demo = yield* start(["--requests", "5", "--block-time", "0.5", "--json"], {
          MPP_PRIVATE_KEY: `0x${"11".repeat(32)}`,
          MPP_BUDGET: "nothing that could be read",
          MPP_MAX_PRICE: "0",
          MPP_NETWORKS: "eip155:8453",
          MPP_RPC_8453: foreign.url,
          MPP_RPC_31337: foreign.url,
          MPP_DENY_ORIGINS: "127.0.0.1",
          MPP_LEDGER: "postgres://127.0.0.1:1/nowhere",
          MPP_SESSION_ENDPOINT: `${foreign.url}/session`,
          MPP_SESSION_ORIGINS: "*",
          MPP_AGENT_ID: "somebody else",
          TEMPO_CREDENTIAL: "a-secret-that-nobody-sends",
          HTTP_PROXY: foreign.url,
          http_proxy: foreign.url
        })
        assert.strictEqual(yield* demo.ended, 0, demo.ran.stderr)
        assert.strictEqual(foreign.asked, 0)

        const report = JSON.parse(demo.ran.stdout)
        assert.isTrue(report.exact)
        assert.strictEqual(report.priceUsd, "0.01")
        const [perRequest, session] = report.workloads
        assert.deepInclude(perRequest, { rail: "x402/exact", requests: 5, roundTrips: 10 })
        assert.deepInclude(perRequest.money, {
          ledgerChainUsd: "0.05",
          chainUsd: "0.05",
          ledgerSessionUsd: "0.00",
          authorityUsd: "0.00",
          transactions: 5
        })
        assert.isAtLeast(perRequest.totalMillis, 4 * 400)
        // one demand, and every other request carries the token with it
        assert.deepInclude(session, { rail: "mpp/token-session", requests: 5, roundTrips: 6 })
        assert.deepInclude(session.setUp, { sessions: 1 })
        assert.deepInclude(session.money, {
          ledgerChainUsd: "0.00",
          chainUsd: "0.00",
          ledgerSessionUsd: "0.05",
          authorityUsd: "0.05",
          transactions: 0
        })
        assert.isBelow(session.p50Millis, perRequest.p50Millis)

        const costs = report.scenes.map((
          { money, name }: { readonly name: string; readonly money: typeof Money.Encoded }
        ) => [name, money.chainUsd, money.authorityUsd, money.heldUsd])
        assert.deepStrictEqual(costs.filter(([name]: [string]) => name !== "small budget"), [
          ["expired token", "0.00", "0.06", "0.00"],
          ["rate limit", "0.00", "0.02", "0.00"],
          ["outage", "0.01", "0.01", "0.00"],
          ["lost answer", "0.01", "0.00", "0.00"]
        ])
        const poor = report.scenes.find(({ name }: { readonly name: string }) => name === "small budget")
        assert.strictEqual(poor.delivered, 5)
        assert.strictEqual(poor.money.budgetUsd, "0.05")
        assert.match(poor.did, /BudgetExceeded \(agent limit \$0\.05/)
        assert.deepStrictEqual(
          report.scenes.flatMap(({ checks }: { readonly checks: ReadonlyArray<{ readonly holds: boolean }> }) =>
            checks.filter(({ holds }) => !holds)
          ),
          []
        )
      }),
    seconds
  )

  it.live("stops all that it started when it is interrupted", () =>
    Effect.gen(function*() {
      const demo = yield* start(["--requests", "5", "--block-time", "2"])
      yield* demo.wrote("paid for on the chain")
      const servers = demo.ran.stderr.match(/http:\/\/127\.0\.0\.1:\d+/g) ?? []
      assert.strictEqual(servers.length, 3)
      const listening = Effect.forEach(servers, (url) => Effect.isSuccess(Effect.tryPromise(() => fetch(url))))
      assert.deepStrictEqual(yield* listening, [true, true, true])
      assert.isTrue(signal(demo.pid, "SIGINT"))
      assert.strictEqual(yield* demo.ended, 130)
      assert.deepStrictEqual(yield* listening, [false, false, false])
    }), seconds)

  it.live("says why it does not begin, and ends with status 1", () =>
    Effect.gen(function*() {
      const few = yield* start(["--requests", "4"])
      assert.strictEqual(yield* few.ended, 1)
      assert.match(few.ran.stderr, /4 requests are not worth a session.*Ask for 5 or more/)
      const long = yield* start(["--requests", "100", "--block-time", "2", "--json"])
      assert.strictEqual(yield* long.ended, 1)
      assert.match(long.ran.stderr, /more than two minutes. Ask for 45 or fewer/)
      const { error } = JSON.parse(long.ran.stdout)
      assert.deepStrictEqual([error._tag, error.money], ["DemoFailed", "unspent"])
      assert.match(error.message, /more than two minutes/)
    }), seconds)
})

describe("the report", () => {
  const paid = new Money({
    ledgerChainUsd: 10_000n,
    ledgerSessionUsd: 20_000n,
    heldUsd: 0n,
    budgetUsd: 30_000n,
    chainUsd: 10_000n,
    authorityUsd: 20_000n,
    transactions: 1
  })

  it("calls money exact only if every book says the same", () => {
    assert.isTrue(paid.exact)
    assert.isTrue(sum([paid, paid]).exact)
    const wrong: ReadonlyArray<Partial<Money>> = [
      { ledgerChainUsd: 20_000n, ledgerSessionUsd: 10_000n },
      { chainUsd: 20_000n },
      { authorityUsd: 20_001n },
      { budgetUsd: 29_999n },
      { heldUsd: 1n }
    ]
    assert.deepStrictEqual(wrong.map((change) => new Money({ ...paid, ...change }).exact), wrong.map(() => false))
  })

  it("objects to what the merchant has beyond what the agents paid", () => {
    const report = (incomeUsd: bigint) =>
      new Report({
        network: "eip155:31337",
        blockSeconds: 2,
        priceUsd: 10_000n,
        workloads: [],
        scenes: [],
        total: paid,
        incomeUsd,
        seconds: 1
      })
    assert.deepStrictEqual(report(30_000n).objections, [])
    assert.deepStrictEqual(report(40_000n).objections, ["not so: the merchant has what the agents paid"])
  })

  it("takes percentiles by nearest rank", () => {
    const hundred = Array.from({ length: 100 }, (_, at) => 100 - at)
    assert.deepStrictEqual([0.5, 0.95, 1].map((share) => percentile(hundred, share)), [50, 95, 100])
    assert.strictEqual(percentile([7], 0.5), 7)
    assert.strictEqual(percentile([], 0.5), 0)
  })
})
