/**
 * Merchants and session endpoints that lie, over token sessions.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import * as Payment from "../../src/Payment.ts"
import { cuts, honest, type Reply, status, type Step, takes, withoutReceipt } from "./merchant.ts"
import * as World from "./world.ts"

const { buy, failure, get, hostile, idle, origin, outcome, pass, patiently, price, standing, states, sweep } = World

/** A program that is worth a session of twenty cents. */
const crawl = Payment.with({ expect: 10 })

const sessions = Effect.map(
  Effect.flatMap(Ledger.Ledger, (ledger) => ledger.sessions({})),
  (all) => all.toReversed().map(({ limitUsd, spentUsd, state }) => ({ limitUsd, spentUsd, state }))
)

const openings = (world: World.World) => world.calls.filter((it) => it.method === "POST").length
const closings = (world: World.World) => world.calls.filter((it) => it.method === "DELETE").length

/** Says that the token has expired. */
const expires: Step = ({ demand }) =>
  new Response("{}", { status: 401, headers: { "www-authenticate": demand().headers.get("www-authenticate")! } })

/** Changes what the session endpoint answers to an opening. */
const opening =
  (change: (granted: Record<string, unknown>) => Record<string, unknown>): World.Endpoint => ({ honest, request }) =>
    request.method !== "POST"
      ? honest
      : Effect.flatMap(
        honest,
        (response) =>
          Effect.promise(async () =>
            new Response(JSON.stringify(change(await response.json() as Record<string, unknown>)), { status: 201 })
          )
      )

const session = (more: Partial<World.Options> = {}): World.Options => ({ sells: ["session"], ...more })

describe("a merchant that lies about a token session", () => {
  it.effect("opens one session for a workload, attaches it first, and closes it in the end", () =>
    hostile(
      session(),
      Effect.fnUntraced(function*(world) {
        for (let n = 0; n < 10; n++) assert.strictEqual(yield* outcome(crawl(buy())), "content")
        assert.strictEqual(openings(world), 1)
        assert.strictEqual(world.seen.length, 11, "one demand, and ten paid requests")
        assert.deepStrictEqual(yield* standing(), { spent: 10n * price, exposed: 10n * price })
      })
    ))

  it.effect("78: opens no session for a challenge that another site has handed on", () =>
    hostile(
      {
        sessionOrigins: ["*"],
        others: { "evil.test": { sells: ["session"], challenge: { realm: "merchant.test" } } }
      },
      Effect.fnUntraced(function*(world) {
        const { money, reason } = yield* failure(crawl(buy("https://evil.test/data")))
        assert.deepInclude(reason, { _tag: "PolicyDenied", rule: "realm-mismatch" })
        assert.strictEqual(money, "unspent")
        assert.strictEqual(world.calls.length, 0)
      })
    ))

  it.effect("78: opens no session at an origin that is not listed, whatever it demands", () =>
    hostile(
      session({ sessionOrigins: ["https://other.test"] }),
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(crawl(buy())), "SessionRequired (unspent)")
        assert.strictEqual(world.calls.length, 0)
      })
    ))

  for (
    const sessionEndpoint of [
      "https://pay.evil/session",
      "https://pay.test/session2",
      "https://pay.test:8443/session",
      "https://pay.test/session?x=1",
      "https://me:secret@pay.test/session",
      "http://pay.test/session"
    ]
  ) {
    it.effect(`79: sends no credential to an endpoint that a challenge names: ${sessionEndpoint}`, () =>
      hostile(
        session({ challenge: { sessionEndpoint } }),
        Effect.fnUntraced(function*(world) {
          assert.strictEqual(yield* outcome(crawl(buy())), "PolicyDenied (unspent)")
          assert.strictEqual(world.calls.length, 0)
          assert.isTrue(world.seen.every((it) => it.url.startsWith(origin)))
        })
      ))
  }

  it.effect("84: hands the application's own 401 to the caller, and renews nothing", () =>
    hostile(
      session({ paid: [honest, takes(status(401, { "www-authenticate": "Bearer" }))] }),
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(crawl(buy())), "content")
        const response = yield* crawl(get())
        assert.strictEqual(response.status, 401)
        assert.strictEqual(openings(world), 1)
      })
    ))

  it.effect("85: renews once for a merchant that says for ever that the token has expired", () =>
    hostile(
      session({ paid: [expires] }),
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(crawl(buy())), "TokenExpired (unspent)")
        assert.deepStrictEqual([openings(world), world.paid().length], [2, 2])
        assert.strictEqual(closings(world), 2)
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
        assert.deepStrictEqual(yield* World.deliveries, ["void"])
      })
    ))

  it.effect("85: renews a token that has run out under what remains of the budget", () =>
    hostile(
      session(),
      Effect.fnUntraced(function*(world) {
        yield* crawl(buy())
        yield* pass("2 hours")
        assert.strictEqual(yield* outcome(crawl(buy())), "content")
        assert.strictEqual(openings(world), 2)
        assert.deepStrictEqual((yield* sessions).map((it) => it.state), ["closed", "live"])
        assert.strictEqual(yield* world.moved, 2n * price)
      })
    ))

  it.effect("86: pays over x402 when the session's merchant is down, and its endpoint says that nothing was taken", () =>
    hostile(
      {
        sells: ["session", "x402"],
        paid: [(sale) => sale.token === undefined ? honest(sale) : unavailable(sale)]
      },
      Effect.fnUntraced(function*({ chain, authority }) {
        assert.strictEqual(yield* outcome(crawl(buy())), "content")
        assert.deepStrictEqual(chain.moved, [price])
        assert.strictEqual((yield* authority.audit).moved.size, 0)
        // Only the final figure of a session proves that no debit comes late.
        assert.isTrue((yield* sessions).every((it) => it.state === "closed" && it.spentUsd === 0n))
      })
    ))

  it.effect("86: pays by no other rail when the endpoint says that the token was debited", () =>
    hostile(
      { sells: ["session", "x402"], paid: [takes(withoutReceipt(503))] },
      Effect.fnUntraced(function*({ chain, paid }) {
        assert.strictEqual(yield* outcome(crawl(buy())), "PaidUndelivered (spent)")
        assert.deepStrictEqual(chain.moved, [])
        assert.strictEqual(paid().length, 1)
      })
    ))

  it.effect("86: keeps a draw whose answer was lost, while the endpoint is away, and knows it at the end", () => {
    let away = true
    return hostile(
      session({
        paid: [honest, takes(cuts), honest],
        endpoint: ({ honest, request }) => away && request.method !== "POST" ? Effect.succeed("cut") : honest
      }),
      Effect.fnUntraced(function*() {
        yield* crawl(buy())
        assert.strictEqual(yield* outcome(crawl(buy())), "PaymentUncertain (unknown)")
        assert.deepStrictEqual((yield* sessions).map((it) => it.spentUsd), [price])
        away = false
        yield* sweep
        assert.deepStrictEqual((yield* sessions).map((it) => it.spentUsd), [2n * price])
      })
    )
  })

  it.effect("pays once when a debit comes after the answer that said there was none", () =>
    hostile(
      { sells: ["session", "x402"], paid: [(sale) => sale.token === undefined ? honest(sale) : debitsLate(sale)] },
      Effect.fnUntraced(function*({ moved }) {
        assert.strictEqual(yield* outcome(crawl(buy())), "content")
        yield* pass("5 minutes")
        assert.strictEqual(yield* moved, price)
      })
    ))

  it.effect("87: leaves half of the plan to others", () =>
    hostile(
      {
        sells: ["session"],
        sessionOrigins: ["*"],
        others: { "second.test": { sells: ["session"] }, "third.test": { sells: ["x402"] } },
        budget: Budget.make({ limit: "0.40", window: "1 hour" })
      },
      Effect.fnUntraced(function*() {
        const greedy = Payment.with({ expect: 1_000 })
        for (const path of [World.url, "https://second.test/data", "https://third.test/data"]) {
          assert.strictEqual(yield* outcome(greedy(buy(path))), "content", path)
        }
        assert.deepStrictEqual((yield* sessions).map((it) => it.limitUsd), [200_000n, 100_000n])
      })
    ))

  it.effect("finds by the endpoint's figure that a merchant took more than its price, and draws no more", () =>
    hostile(
      session({
        paid: [honest, (sale) => Effect.as(sale.take(7n * price), new Response("{}")), cuts]
      }),
      Effect.fnUntraced(function*(world) {
        for (let n = 0; n < 2; n++) yield* crawl(buy())
        assert.strictEqual(yield* outcome(crawl(buy())), "PaidUndelivered (spent)")
        yield* idle
        assert.deepStrictEqual((yield* sessions).map((it) => it.state), ["closed"])
        assert.deepStrictEqual(yield* standing(), { spent: 8n * price, exposed: 0n })
        assert.strictEqual(closings(world), 1)
      })
    ))

  it.effect("closes the session of a merchant whose receipt claims more than the price", () =>
    hostile(
      session({
        paid: [(sale) => Effect.map(sale.take(7n * price), () => new Response("{}", { headers: sale.receipt() }))]
      }),
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(crawl(buy())), "content")
        yield* idle
        assert.deepStrictEqual((yield* sessions).map((it) => it.state), ["closed"])
        assert.deepStrictEqual(yield* standing(), { spent: 7n * price, exposed: 0n })
      })
    ))

  it.effect("counts a draw without a receipt at its tariff, and corrects it when the session closes", () =>
    hostile(
      session({ paid: [withoutReceipt(200)] }),
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(crawl(buy())), "content")
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 19n * price })
      })
    ))

  it.effect("serves many fibers by one session after the other, when the limit of each is used up", () => {
    const slow: Step = (sale) =>
      Effect.flatMap(
        sale.take(),
        (taken) =>
          Effect.delay(
            Effect.succeed(taken === undefined ? expires(sale) as Response : new Response("{}")),
            "100 millis"
          )
      )
    return hostile(
      session({ paid: [slow] }),
      Effect.fnUntraced(function*(world) {
        const page = (n: number) => outcome(Payment.with(World.fetch(`${origin}/${n % 7}`), { expect: 5 }))
        const outcomes = yield* patiently(
          Effect.forEach(Array.from({ length: 40 }, (_, n) => n), page, { concurrency: 16 })
        )
        assert.deepStrictEqual(outcomes.filter((it) => it !== "content"), [])
        assert.isAtLeast(openings(world), 4)
        assert.strictEqual(yield* world.moved, 40n * price)
      })
    )
  })

  it.effect("makes a new decision when the limit is used up elsewhere, and renews it at most once for a request", () =>
    hostile(
      session({ paid: [honest, ({ demand }) => demand()] }),
      Effect.fnUntraced(function*(world) {
        yield* crawl(buy())
        assert.strictEqual(yield* outcome(crawl(buy())), "PaymentRejected (unspent)")
        assert.isAtMost(openings(world), 2)
        assert.isTrue((yield* sessions).every((it) => it.state === "closed"))
        assert.strictEqual(yield* world.moved, price)
      })
    ))
})

/** Has twice the price taken, and says nothing of it. */
const takesTwice = (then: Step): Step => (sale) =>
  Effect.flatMap(sale.take(2n * price), () => Effect.succeed(then(sale) as Reply))

const unavailable: Step = withoutReceipt(503)

/** Answers that it is unavailable, and has the token debited half a minute later. */
const debitsLate: Step = (sale) =>
  Effect.as(
    Effect.forkDetach(Effect.andThen(Effect.sleep("30 seconds"), Effect.ignore(sale.take()))),
    unavailable(sale) as Reply
  )

describe("a credential that goes where it should not", () => {
  it.effect("serves more fibers than a session has room for, one session after the other", () =>
    hostile(
      session(),
      Effect.fnUntraced(function*({ moved }) {
        const five = Payment.with({ expect: 5 })
        const fibers = yield* Effect.forEach(
          Array.from({ length: 32 }),
          () => Effect.forkChild(outcome(five(buy())))
        )
        const outcomes = yield* patiently(Fiber.joinAll(fibers))
        assert.deepStrictEqual(outcomes, Array.from({ length: 32 }, () => "content"))
        assert.strictEqual(yield* moved, 32n * price)
      })
    ))

  it.effect("attaches the token to every path below a prefix that the program listed", () =>
    hostile(
      session({ attach: ["/items/"] }),
      Effect.fnUntraced(function*({ seen }) {
        for (const path of ["/items/1", "/items/2", "/other"]) yield* crawl(get(`${origin}${path}`))
        assert.deepStrictEqual(seen.map((it) => [new URL(it.url).pathname, it.token !== undefined]), [
          ["/items/1", false],
          ["/items/1", true],
          ["/items/2", true],
          ["/other", false],
          ["/other", true]
        ])
      })
    ))

  it.effect("67: attaches the token to the routes that were sold for it, and to no other", () =>
    hostile(
      session({ unpaid: (sale) => sale.url.pathname === "/free" ? new Response("{}") : sale.demand() }),
      Effect.fnUntraced(function*({ paid, seen }) {
        yield* crawl(buy())
        yield* crawl(get(`${origin}/free`))
        yield* crawl(buy())
        yield* Effect.flatMap(PayingClient.PayingClient, (client) => patiently(crawl(client.post(World.url))))
        assert.deepStrictEqual(seen.map((it) => [it.method, new URL(it.url).pathname, it.token !== undefined]), [
          ["GET", "/data", false],
          ["GET", "/data", true],
          ["GET", "/free", false],
          ["GET", "/data", true],
          ["POST", "/data", false],
          ["POST", "/data", true]
        ])
        assert.strictEqual(paid().length, 3)
      })
    ))

  it.effect("68: leaves a request's own Authorization alone, and pays it otherwise", () =>
    hostile(
      { sells: ["session", "x402"] },
      Effect.fnUntraced(function*({ seen, chain, secret }) {
        yield* crawl(buy())
        secret("the-application's-own-key")
        const request = HttpClientRequest.get(World.url, {
          headers: { authorization: "Bearer the-application's-own-key" }
        })
        const response = yield* Effect.flatMap(
          PayingClient.PayingClient,
          (client) => patiently(crawl(client.execute(request)))
        )
        assert.strictEqual(response.status, 200)
        assert.isTrue(seen.slice(-2).every((it) => it.headers.authorization === "Bearer the-application's-own-key"))
        assert.deepStrictEqual(chain.moved, [price])
      })
    ))

  it.effect("follows a redirect of a request that had a token attached without it", () =>
    hostile(
      session({
        paid: [honest, () => new Response(null, { status: 307, headers: { location: "https://elsewhere.test/" } })],
        unpaid: (sale) =>
          sale.url.searchParams.has("moved")
            ? new Response(null, { status: 307, headers: { location: "https://elsewhere.test/" } })
            : sale.demand(),
        elsewhere: () => new Response("{}")
      }),
      Effect.fnUntraced(function*({ seen }) {
        yield* crawl(buy())
        yield* crawl(get(`${World.url}?moved=1`))
        const elsewhere = seen.filter((it) => it.url.startsWith("https://elsewhere.test"))
        assert.strictEqual(elsewhere.length, 1)
        assert.isUndefined(elsewhere[0]!.headers.authorization)
      })
    ))
})

describe("a session endpoint that lies", () => {
  const refusals: ReadonlyArray<
    readonly [string, (granted: Record<string, unknown>) => Record<string, unknown>, string?]
  > = [
    ["82: a limit beyond the one asked for", (it) => ({ ...it, spendingLimitUsdc: "0.40" }), "deleted"],
    ["82: a validity beyond the one asked for", (it) => ({ ...it, expiresAt: "2099-01-01T00:00:00Z" }), "deleted"],
    ["another audience", (it) => ({ ...it, audience: "https://evil.test" }), "deleted"],
    [
      "83: a token that would end the header",
      (it) => ({ ...it, sessionToken: `${it.sessionToken}\r\nx-evil: 1` }),
      "deleted"
    ],
    ["83: a token of a megabyte", (it) => ({ ...it, sessionToken: "a".repeat(1_000_000) })],
    ["83: a token beyond ASCII", (it) => ({ ...it, sessionToken: "töken-töken-töken-töken" }), "deleted"],
    ["83: an id that is a path", (it) => ({ ...it, sessionId: "../admin" })],
    ["83: no token at all", (it) => ({ ...it, sessionToken: null }), "deleted"]
  ]
  for (const [name, change, isDeleted] of refusals) {
    it.effect(`takes no session with ${name}`, () =>
      hostile(
        session({ endpoint: opening(change) }),
        Effect.fnUntraced(function*(world) {
          assert.strictEqual(yield* outcome(crawl(buy())), "ProtocolError (held)")
          assert.strictEqual(world.paid().length, 0)
          assert.strictEqual(closings(world), isDeleted === undefined ? 0 : 1)
          assert.isTrue(world.calls.every((it) => /^https:\/\/pay\.test\/session(\/sess_[\w-]+)?$/.test(it.url)))
          assert.isTrue((yield* standing()).exposed > 0n, "the hold stays until the endpoint attests that it is over")
          yield* sweep
          assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
        })
      ))
  }

  it.effect("80: follows no redirect with the credential", () =>
    hostile(
      session({
        endpoint: () =>
          Effect.succeed(new Response(null, { status: 307, headers: { location: "https://evil.test/session" } }))
      }),
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(crawl(buy())), "ProtocolError (held)")
        assert.isTrue(world.seen.every((it) => it.url.startsWith(origin)))
      })
    ))

  it.effect("81: asks again with the same key when the answer to an opening is lost, and opens one session", () =>
    hostile(
      session({
        endpoint: ({ honest, nth }) => nth === 0 ? Effect.as(honest, "cut" as Reply) : honest
      }),
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(crawl(buy())), "content")
        assert.strictEqual(openings(world), 2)
        const { accounts } = yield* world.authority.audit
        assert.strictEqual(accounts[0]!.reservedUsd, 19n * price)
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 19n * price })
      })
    ))

  it.effect("81: holds the limit of an opening that is never answered, and gets it back when the endpoint is", () => {
    let isAway = true
    return hostile(
      {
        sells: ["session", "x402"],
        endpoint: ({ honest }) => isAway ? Effect.as(honest, "cut" as Reply) : honest
      },
      Effect.fnUntraced(function*({ chain }) {
        assert.strictEqual(
          yield* outcome(crawl(buy())),
          "content",
          "over x402: nothing is bought twice, for nothing was drawn"
        )
        assert.deepStrictEqual(chain.moved, [price])
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 20n * price })
        isAway = false
        yield* sweep
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
      })
    )
  })

  it.effect("81: presumes the whole limit spent when nobody answers for it in time", () =>
    hostile(
      session({ endpoint: () => Effect.succeed("cut") }),
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(crawl(buy())), "Unavailable (held)")
        yield* pass("1 hour")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["open unknown (presumed)"])
        yield* pass("2 hours")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["open presumed (presumed)"])
      })
    ))

  const silences: ReadonlyArray<readonly [string, () => Reply, bigint]> = [
    ["429", () => new Response("{}", { status: 429 }), 0n],
    ["503", () => new Response("{}", { status: 503 }), 50n * price],
    ["a cut connection", () => "cut", 50n * price]
  ]
  for (const [name, reply, exposed] of silences) {
    it.effect(`closes no merchant that can be paid otherwise, and holds one limit at most: ${name}`, () => {
      let isAway = true
      return hostile(
        {
          sells: ["session", "x402"],
          endpoint: ({ honest }) => isAway ? Effect.sync(reply) : honest
        },
        Effect.fnUntraced(function*({ chain }) {
          const long = Payment.with({ expect: 100 })
          for (let n = 0; n < 10; n++) assert.strictEqual(yield* outcome(long(buy())), "content")
          assert.deepStrictEqual(chain.moved, Array.from({ length: 10 }, () => price))
          assert.deepStrictEqual(yield* standing(), { spent: 10n * price, exposed })
          isAway = false
          yield* sweep
          assert.deepStrictEqual(yield* standing(), { spent: 10n * price, exposed: 0n })
          assert.strictEqual(yield* outcome(long(buy())), "content", "over a session, now that one can be opened")
          assert.deepStrictEqual(chain.moved.length, 10)
          assert.deepStrictEqual((yield* sessions).at(-1), { limitUsd: 45n * price, spentUsd: price, state: "live" })
        })
      )
    })
  }

  it.effect("holds the limit of a renewal that it did not answer, and nothing else that fails is called unspent", () =>
    hostile(
      session({
        paid: [honest, expires],
        endpoint: ({ honest, nth, request }) => request.method === "POST" && nth > 0 ? Effect.succeed("cut") : honest
      }),
      Effect.fnUntraced(function*() {
        const long = Payment.with({ expect: 100 })
        yield* long(buy())
        const error = yield* failure(long(buy()))
        assert.strictEqual(`${error.reason._tag} (${error.money})`, "Unavailable (held)")
        assert.isFalse(error.isRetryable)
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 495_000n })
        assert.strictEqual(
          yield* outcome(long(buy())),
          "Unavailable (unspent)",
          "nothing more is held for the next one"
        )
        yield* sweep
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
      })
    ))

  it.effect("is refused, holds nothing, and pays otherwise", () =>
    hostile(
      {
        sells: ["session", "x402"],
        endpoint: () => Effect.succeed(new Response("{}", { status: 403 }))
      },
      Effect.fnUntraced(function*({ chain }) {
        assert.strictEqual(yield* outcome(crawl(buy())), "content")
        assert.deepStrictEqual(chain.moved, [price])
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
      })
    ))

  it.effect("88: opens for all fibers though the one that asked first is interrupted, and opens once", () =>
    hostile(
      session({
        endpoint: ({ honest, request }) => request.method === "POST" ? Effect.delay(honest, "1 second") : honest
      }),
      Effect.fnUntraced(function*(world) {
        const fetch = crawl(Effect.flatMap(PayingClient.PayingClient, (client) => client.get(World.url)))
        const leader = yield* Effect.forkChild(fetch)
        yield* idle
        const others = yield* Effect.forkChild(
          Effect.forEach(Array.from({ length: 15 }), () => fetch, { concurrency: "unbounded" })
        )
        yield* pass("100 millis")
        yield* Fiber.interrupt(leader)
        yield* pass("2 seconds")
        assert.isTrue((yield* Fiber.join(others)).every((it) => it.status === 200))
        assert.strictEqual(openings(world), 1)
        assert.strictEqual(yield* world.moved, 15n * price)
      })
    ))

  it.effect("89: is found to take twice the price when it is first read, and is used no more", () =>
    hostile(
      session({ paid: [takesTwice(() => new Response("{}")), takesTwice(cuts)] }),
      Effect.fnUntraced(function*(world) {
        yield* crawl(buy())
        yield* outcome(crawl(buy()))
        yield* idle
        assert.deepStrictEqual((yield* sessions).map((it) => it.state), ["closed"])
        assert.strictEqual(closings(world), 1)
        assert.deepStrictEqual(yield* standing(), { spent: 4n * price, exposed: 0n })
      })
    ))

  it.effect("89: is found to take twice the price by the sweep, while it is live", () =>
    hostile(
      session({ paid: [honest, takesTwice(() => new Response("{}"))] }),
      Effect.fnUntraced(function*(world) {
        yield* crawl(buy())
        yield* sweep
        assert.deepStrictEqual((yield* sessions).map((it) => it.state), ["live"])
        yield* crawl(buy())
        yield* sweep
        assert.deepStrictEqual((yield* sessions).map((it) => it.state), ["closed"])
        assert.strictEqual(closings(world), 1)
        assert.deepStrictEqual(yield* standing(), { spent: 3n * price, exposed: 0n })
      })
    ))

  it.effect("does not hold up the caller's time-out while it hangs", () =>
    hostile(
      session({
        paid: [expires],
        endpoint: ({ honest, request }) => request.method === "DELETE" ? Effect.succeed("hangs") : honest
      }),
      Effect.fnUntraced(function*() {
        const fiber = yield* Effect.forkChild(
          Effect.timeoutOption(
            crawl(Effect.flatMap(PayingClient.PayingClient, (client) => client.get(World.url))),
            "3 seconds"
          )
        )
        yield* pass("2900 millis")
        assert.isUndefined(fiber.pollUnsafe())
        yield* pass("200 millis")
        assert.isDefined(fiber.pollUnsafe(), "the caller waits for an endpoint that hangs")
      })
    ))
})
