import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { resolve } from "node:path"

const executable = resolve(import.meta.dirname, "../../src/cli/main.ts")

/** Of a public test mnemonic: nobody keeps anything there. */
const key = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"

const token = "0x5fbdb2315678afecb367f032d93f642f64180aa3"

/** A wallet that may pay on a chain of this machine, and nothing else of the environment of whoever runs the tests. */
const wallet = {
  MPP_PRIVATE_KEY: key,
  MPP_NETWORKS: "eip155:31337",
  MPP_ASSETS: `eip155:31337/${token}:USDC:6:USD Coin:2`
}

const demand = {
  x402Version: 2,
  accepts: [{
    scheme: "exact",
    network: "eip155:31337",
    amount: "10000",
    asset: token,
    payTo: "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
    maxTimeoutSeconds: 60,
    extra: { name: "USD Coin", version: "2" }
  }]
}

/** A server of this machine, for as long as the test takes. */
const serve = (handle: (request: IncomingMessage, response: ServerResponse, url: string) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Server>((resume) => {
        const server = createServer((request, response) => handle(request, response, urlOf(server)))
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    ),
    urlOf
  )

const urlOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

const base64 = (json: unknown) => Buffer.from(JSON.stringify(json)).toString("base64")

/** A merchant on this machine: `/paid` delivers, `/hang` takes the credential and says nothing more. */
const merchant = Effect.gen(function*() {
  const credentials: Array<string> = []
  const url = yield* serve((request, response) => {
    const credential = request.headers["payment-signature"]
    if (credential === undefined) {
      response.writeHead(402, { "payment-required": base64(demand) }).end()
      return
    }
    credentials.push(String(credential))
    if (request.url !== "/paid") return
    const receipt = { success: true, transaction: "0xabc", network: "eip155:31337" }
    response.writeHead(200, { "payment-response": base64(receipt) }).end("bought\u0000\n")
  })
  return { url, credentials }
})

/** A merchant that sells by session, and the endpoint that opens them. */
const sessionMerchant = Effect.gen(function*() {
  const calls: Array<string> = []
  const url = yield* serve((request, response, url) => {
    const answer = (status: number, body: unknown, headers: Record<string, string> = {}) =>
      response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body))
    const figures = { spentUsdc: "0.001", remainingUsdc: "0.049", status: "open" }
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString()
    if (request.url?.startsWith("/session") === true) calls.push(`${request.method}`)
    switch (`${request.method} ${request.url}`) {
      case "POST /session": {
        let body = ""
        request.on("data", (chunk) => body += chunk).on("end", () => {
          const { audience, spendingLimitUsdc } = JSON.parse(body)
          answer(201, {
            sessionId: "s1",
            sessionToken: "token-of-a-test-0123456789",
            spendingLimitUsdc,
            expiresAt: new Date(Date.now() + 60_000).toISOString(),
            audience
          })
        })
        return
      }
      case "GET /session/s1":
        return answer(200, figures)
      case "DELETE /session/s1":
        return answer(200, { ...figures, status: "closed" })
    }
    if (request.headers.authorization === "Payment token-of-a-test-0123456789") return answer(200, { bought: true })
    const { host } = new URL(url)
    const challenge = base64({ id: "c1", realm: host, priceUsdc: "0.001", expiresAt })
    return answer(402, {}, {
      "www-authenticate": `Payment realm="${host}" challenge="${challenge}" scheme="mpp/1.0"`
    })
  })
  return { url, calls }
})

interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs the executable; with `until`, sends it SIGINT when that has come to be. */
const mpp = (args: ReadonlyArray<string>, env: Record<string, string>, until?: () => boolean) =>
  Effect.callback<Ended>((resume) => {
    const child = spawn(process.execPath, [executable, ...args], { env, stdio: ["ignore", "pipe", "pipe"] })
    let stdout = ""
    let stderr = ""
    child.stdout.on("data", (chunk) => stdout += chunk)
    child.stderr.on("data", (chunk) => stderr += chunk)
    const timer = setInterval(() => {
      if (until?.() !== true) return
      clearInterval(timer)
      child.kill("SIGINT")
    }, 10)
    child.on("close", (status) => {
      clearInterval(timer)
      resume(Effect.succeed({ status, stdout, stderr }))
    })
    return Effect.sync(() => {
      clearInterval(timer)
      child.kill("SIGKILL")
    })
  })

describe("the executable", () => {
  it.live("tells its version", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(["--version"], {})
      assert.deepStrictEqual(ran, { status: 0, stdout: "mpp v0.1.0\n", stderr: "" })
    }))

  it.live("exits with 3 and one document where nobody can pay", () =>
    Effect.gen(function*() {
      const { credentials, url } = yield* merchant
      const ran = yield* mpp(["fetch", `${url}/paid`, "--json"], {})
      const { budget, error } = JSON.parse(ran.stdout)
      assert.strictEqual(ran.status, 3)
      assert.deepStrictEqual([error._tag, error.money, error.origin], ["NoPayableOffer", "unspent", url])
      assert.deepStrictEqual(budget, { limit: "1.00", spent: "0.00", exposed: "0.00", remaining: "1.00" })
      assert.deepStrictEqual(credentials, [])
    }))

  it.live("pays, prints the bytes, and warns once that its ledger is in memory", () =>
    Effect.gen(function*() {
      const { url } = yield* merchant
      const ran = yield* mpp(["fetch", `${url}/paid`], wallet)
      assert.deepStrictEqual([ran.status, ran.stdout], [0, "bought\u0000\n"], ran.stderr)
      const [warning, paid, ...rest] = ran.stderr.trimEnd().split("\n")
      assert.match(warning!, /^mpp: warning: this version keeps its ledger in memory/)
      assert.match(
        paid!,
        /^mpp: paid 0\.01 USDC \(10000 units on eip155:31337\) to 0x\S+ over x402\/exact: settled, delivered/
      )
      assert.deepStrictEqual(rest, [])
    }))

  it.live("exits with 5 when it is interrupted while a payment is under way", () =>
    Effect.gen(function*() {
      const { credentials, url } = yield* merchant
      const ran = yield* mpp(["fetch", `${url}/hang`, "--json"], wallet, () => credentials.length > 0)
      const { budget, error } = JSON.parse(ran.stdout)
      assert.deepStrictEqual([ran.status, error._tag, error.money], [5, "PaymentUncertain", "unknown"])
      assert.deepStrictEqual([budget.spent, budget.exposed], ["0.00", "0.01"])
      assert.strictEqual(credentials.length, 1)
    }))

  it.live("exits with 130 when it is interrupted before anything was paid", () =>
    Effect.gen(function*() {
      let asked = false
      const url = yield* serve(() => asked = true)
      const ran = yield* mpp(["fetch", url], wallet, () => asked)
      assert.deepStrictEqual([ran.status, ran.stdout], [130, ""])
    }))

  it.live("tells programs in one document that it was interrupted before anything was paid", () =>
    Effect.gen(function*() {
      for (const command of ["fetch", "probe"]) {
        let asked = false
        const url = yield* serve(() => asked = true)
        const ran = yield* mpp([command, url, "--json"], wallet, () => asked)
        const { error } = JSON.parse(ran.stdout)
        assert.deepStrictEqual([ran.status, error], [130, {
          _tag: "Interrupted",
          message: "Interrupted",
          money: "unspent"
        }])
      }
    }))

  it.live("closes the session that it opened, and gives back what was not spent", () =>
    Effect.gen(function*() {
      const { calls, url } = yield* sessionMerchant
      const ran = yield* mpp(["fetch", `${url}/data`, "--expect", "25", "--json"], {
        TEMPO_CREDENTIAL: "tempo-credential-of-a-test",
        MPP_SESSION_ENDPOINT: `${url}/session`,
        MPP_SESSION_ORIGINS: url
      })
      assert.strictEqual(ran.status, 0, ran.stderr)
      const { body, budget, payment } = JSON.parse(ran.stdout)
      assert.strictEqual(body, "{\"bought\":true}")
      assert.deepStrictEqual([payment.rail, payment.amount, payment.units, payment.delivered], [
        "mpp/token-session",
        "0.001",
        "1000",
        true
      ])
      assert.deepStrictEqual(budget, { limit: "1.00", spent: "0.001", exposed: "0.00", remaining: "0.999" })
      assert.deepStrictEqual([calls.at(0), calls.at(-1)], ["POST", "DELETE"])
      assert.notInclude(ran.stdout + ran.stderr, "token-of-a-test")
    }))

  it.live("prints no key and no credential, whatever happens", () =>
    Effect.gen(function*() {
      const { credentials, url } = yield* merchant
      const spoiled = `${key.slice(0, -2)}zz`
      const env = { ...wallet, TEMPO_CREDENTIAL: "tempo-credential-of-a-test" }
      const runs = [
        yield* mpp(["fetch", `${url}/paid`, "--json", "--log-level", "all"], env),
        yield* mpp(["fetch", `${url}/hang`, "--json", "--log-level", "all"], env, () => credentials.length > 1),
        yield* mpp(["fetch", `${url}/paid`, "--log-level", "all"], { ...env, MPP_PRIVATE_KEY: spoiled }),
        yield* mpp(["budget"], { ...env, MPP_BUDGET: spoiled }),
        yield* mpp(["budget"], { ...env, MPP_ASSETS: spoiled })
      ]
      assert.deepStrictEqual(runs.map(({ status }) => status), [0, 5, 2, 2, 2])
      assert.strictEqual(credentials.length, 2)
      for (const { stderr, stdout } of runs) {
        for (const secret of [key, spoiled, env.TEMPO_CREDENTIAL, ...credentials]) {
          assert.notInclude(stdout + stderr, secret)
        }
      }
    }), 60_000)

  it.live("does not pretend to keep a ledger on disk", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(["budget"], { MPP_LEDGER: "/tmp/ledger.db" })
      assert.deepStrictEqual([ran.status, ran.stdout], [2, ""])
      assert.match(ran.stderr, /^mpp: MPP_LEDGER is set, and this version keeps its ledger in memory only\./)
    }))
})
