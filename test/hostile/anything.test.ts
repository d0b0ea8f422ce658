/**
 * Whatever a merchant answers, in whatever order, while nodes fail, blocks vanish and callers give up: no defect, no
 * payment beyond its price, and in the end the books say what the chain and the session endpoint say.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Schema from "effect/Schema"
import * as Budget from "../../src/Budget.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import * as Payment from "../../src/Payment.ts"
import * as RetryPolicy from "../../src/RetryPolicy.ts"
import {
  breaksOff,
  claims,
  cuts,
  demandsAgain,
  hangs,
  honest,
  refuses,
  refusesConnection,
  replays,
  status,
  type Step,
  takes,
  withoutReceipt
} from "./merchant.ts"
import * as World from "./world.ts"

const { authorizations, hostile, origin, pass, patiently, sweep } = World

const expires: Step = ({ demand, token }) =>
  token === undefined
    ? new Response("{}", { status: 401 })
    : new Response("{}", {
      status: 401,
      headers: { "www-authenticate": demand().headers.get("www-authenticate") ?? "" }
    })

/** Headers that no honest server sends. */
const odd: Step = () =>
  new Response("{\"x402Version\":2,\"accepts\":[{}],\"error\":7}", {
    status: 429,
    headers: {
      "retry-after": "-99999999999999999999",
      "payment-response": "%%%",
      "payment-receipt": btoa("{\"sessionId\":\"..\",\"amountUsdc\":\"-1\",\"remainingUsdc\":\"1e99\"}"),
      "payment-required": btoa("{\"x402Version\":1e400}"),
      "www-authenticate": "Payment realm=\"\\\", challenge=,,,scheme="
    }
  })

const script: { readonly [name: string]: Step } = {
  honest,
  replays,
  demandsAgain,
  cuts,
  hangs,
  refusesConnection,
  expires,
  odd,
  "takes, cuts": takes(cuts),
  "takes, hangs": takes(hangs),
  "takes, demands": takes(demandsAgain),
  "takes, refuses": takes(refuses("invalid_exact_evm_signature")),
  refuses: refuses("invalid_exact_evm_insufficient_balance"),
  "takes, breaks off": takes(breaksOff),
  "takes, 500": takes(status(500)),
  "takes, 503": takes(withoutReceipt(503)),
  "takes, 302": takes(withoutReceipt(302, { location: "https://evil.test/" })),
  "takes, says nothing": takes(withoutReceipt(200)),
  "503": withoutReceipt(503, { "retry-after": "1" }),
  "429": withoutReceipt(429, { "retry-after": "2" }),
  "204": withoutReceipt(204),
  lies: claims(200, {}),
  "fails to settle": claims(402, { success: false, errorReason: "settlement_pending" }),
  "takes too much": (sale) => Effect.as(sale.take(sale.token === undefined ? undefined : 30_000n), new Response("{}"))
}

const request = (method: "GET" | "POST", path: string) =>
  Effect.flatMap(
    PayingClient.PayingClient,
    (it) => Effect.flatMap(it.execute(HttpClientRequest.make(method)(`${origin}${path}`)), (response) => response.text)
  )

/** Runs to its end, or is given up after some seconds. */
const tried = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>, seconds: number) {
  const exit = yield* patiently(Effect.exit(Effect.timeoutOption(effect, seconds * 1000)))
  if (exit._tag === "Failure") assert.isFalse(Cause.hasDies(exit.cause), Cause.pretty(exit.cause))
})

const doings = {
  "get /a": () => tried(request("GET", "/a"), 100),
  "get /b": () => tried(request("GET", "/b"), 100),
  "post /a": () => tried(request("POST", "/a"), 100),
  "get /a, at most 2 seconds": () => tried(request("GET", "/a"), 2),
  "get /a, over x402": () => tried(Payment.with(request("GET", "/a"), { rails: ["x402/exact"] }), 30),
  "three times /b at once": () =>
    tried(Effect.forEach([1, 2, 3], () => Effect.exit(request("GET", "/b")), { concurrency: "unbounded" }), 100),
  sweep: () => sweep,
  wait: () => pass("90 seconds"),
  "wait long": () => pass("3 hours"),
  "lose the node": ({ chain }: World.World) => Effect.sync(() => chain.manners.set("rpc.test", "down")),
  "wait for the node in vain": ({ chain }: World.World) => Effect.sync(() => chain.manners.set("rpc.test", "hangs")),
  "lose a block": ({ chain }: World.World) =>
    Effect.clockWith((clock) => Effect.sync(() => chain.reorganise(clock.currentTimeMillisUnsafe() / 1000))),
  "crawl /b": () => tried(Payment.with(request("GET", "/b"), { expect: 10 }), 100),
  "get /b, and accept a loss": () =>
    tried(
      Effect.updateService(request("GET", "/b"), RetryPolicy.RetryPolicy, (policy) => ({
        ...policy,
        fallback: { maxDoubleSpend: "0.01", perHour: "0.05" } as const
      })),
      100
    ),
  "find the node": ({ chain }: World.World) => Effect.sync(() => chain.manners.set("rpc.test", "honest"))
}

const Script = Schema.Array(Schema.Literals(Object.keys(script))).check(Schema.isMinLength(1), Schema.isMaxLength(12))
const Doings = Schema.Array(Schema.Literals(Object.keys(doings) as Array<keyof typeof doings>)).check(
  Schema.isMinLength(1),
  Schema.isMaxLength(10)
)
const Sells = Schema.Literals(["x402", "session", "both"])

describe("whatever happens", () => {
  it.effect.prop(
    "nobody is paid more than was approved, and in the end the books are right",
    { paid: Script, does: Doings, sells: Sells },
    ({ does, paid, sells }) =>
      hostile(
        {
          sells: sells === "both" ? ["x402", "session"] : [sells],
          paid: paid.map((name) => script[name]!),
          budget: Budget.make({ limit: "5", window: "1 hour", perDay: "50" }),
          elsewhere: () => new Response("{}")
        },
        Effect.fnUntraced(function*(world) {
          for (const doing of does) yield* doings[doing](world)
          world.chain.manners.set("rpc.test", "honest")
          yield* pass("3 hours")
          yield* sweep
          yield* sweep
          const charges = (yield* authorizations).filter(({ plan }) => plan.kind === "charge")
          assert.deepStrictEqual(charges.filter(({ exposedUsd }) => exposedUsd > 0n).map((it) => it.state), [])
          const spent = charges.reduce((total, it) => total + it.spentUsd, 0n)
          assert.strictEqual(spent, world.chain.moved.reduce((total, units) => total + units, 0n))
        })
      ),
    { arbitrary: { runs: 100 }, timeout: 60_000 }
  )
})
