import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { base64, key, merchant, mpp, serve, wallet } from "./executable.ts"

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

  it.live("pays, prints the bytes, and says what it paid", () =>
    Effect.gen(function*() {
      const { url } = yield* merchant
      const ran = yield* mpp(["fetch", `${url}/paid`], wallet)
      assert.deepStrictEqual([ran.status, ran.stdout], [0, "bought\u0000\n"], ran.stderr)
      const [paid, ...rest] = ran.stderr.trimEnd().split("\n")
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
})
