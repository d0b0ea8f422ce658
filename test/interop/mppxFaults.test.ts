/**
 * What goes wrong with the official client at a server that errs or lies, and does not with ours: both at the same server,
 * which says what was signed for it and what it took.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import { FetchHttpClient, HttpClientRequest } from "effect/http"
import { evm, Mppx } from "mppx/client"
import { privateKeyToAccount } from "viem/accounts"
import * as Agent from "../../src/Agent.ts"
import * as Choice from "../../src/Choice.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import * as PaymentError from "../../src/PaymentError.ts"
import * as EvmCharge from "../../src/rails/EvmCharge.ts"
import * as TestWallet from "../../src/testing/TestWallet.ts"
import * as Wallet from "../../src/Wallet.ts"
import { network, token } from "../hostile/chain.ts"
import { impatient } from "./payer.ts"
import * as Shop from "./scriptedShop.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Ours and theirs
// ---------------------------------------------------------------------------------------------------------------------

/** A host that is not this machine, and is answered by it. */
const remote = "http://shop.test"

/** Resolves the remote host to the shop. */
const resolving = (url: string): typeof fetch => async (input, init) => {
  const asked = input instanceof Request ? input.url : String(input)
  const answer = await fetch(asked.replace(remote, url), init)
  return Object.defineProperty(answer, "url", { value: asked })
}

const ours = (wallet: Layer.Layer<Wallet.Wallet> = TestWallet.layer) =>
  Layer.unwrap(Effect.map(Shop.ScriptedShop, ({ rpcUrl, url }) =>
    Agent.layer({
      rails: EvmCharge.layer({ networks: [network] }).pipe(Layer.provide(wallet)),
      ledger: Ledger.layerMemory({ quiet: true }),
      rpc: { [network]: rpcUrl },
      sweep: false
    }).pipe(
      Layer.provide(FetchHttpClient.layer),
      Layer.provideMerge(Layer.succeed(FetchHttpClient.Fetch, resolving(url)))
    ))).pipe(Layer.provideMerge(impatient))

const execute = Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest) {
  const client = yield* PayingClient.PayingClient
  return yield* Effect.flatMap(client.execute(request), (response) => response.text)
})

/** Our client gets it, and reads it to its end. */
const get = Effect.flatMap(Shop.ScriptedShop, ({ url }) => execute(HttpClientRequest.get(`${url}/`)))

const failureOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    const { money, reason } = Option.getOrThrow(PaymentError.find(error))
    return { money, reason }
  })

/** What a failure means: `PaidUndelivered (spent)`. */
const outcomeOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(failureOf(effect), ({ money, reason }) => `${reason._tag} (${money})`)

const outcome = (effect: typeof get) =>
  Effect.matchEffect(effect, {
    onSuccess: Effect.succeed,
    onFailure: (error) => outcomeOf(Effect.fail(error))
  })

const theirs = (fetching: typeof fetch = fetch) =>
  Mppx.create({
    polyfill: false,
    fetch: fetching,
    methods: [
      evm.charge({
        account: privateKeyToAccount(Redacted.value(TestWallet.privateKey)),
        authorization: { name: "USDC", version: "2" },
        currencies: [token],
        decimals: 6,
        maxAmount: "1",
        networks: [Number(network.split(":")[1])]
      })
    ]
  })

/** The official client gets it: a status, or `failed`. */
const theyGet = (client: Pick<ReturnType<typeof theirs>, "fetch"> = theirs(), init?: RequestInit) =>
  Effect.flatMap(
    Shop.ScriptedShop,
    ({ url }) =>
      Effect.promise(() => client.fetch(`${url}/`, init).then(({ status }) => status, () => "failed" as const))
  )

/** What was signed at the shop, and what it took. */
const account = Effect.gen(function*() {
  const { signed, taken } = yield* Shop.ScriptedShop
  return { signed: (yield* signed).length, taken: (yield* taken).length }
})

const standing = Effect.map(
  Ledger.Ledger.use((ledger) => ledger.standing("agent:default", 3_600_000)),
  ({ exposed, spent }) => ({ exposed, spent })
)

const perform = (script: Shop.Script) => Shop.ScriptedShop.use((shop) => shop.perform(script))

const nothing = { signed: 0, taken: 0 }
const once = { signed: 1, taken: 1 }
const content = JSON.stringify({ secret: 42 })
const spent = { spent: Shop.units, exposed: 0n }

// ---------------------------------------------------------------------------------------------------------------------
// Scripts
// ---------------------------------------------------------------------------------------------------------------------

const isPaid = (sale: Shop.Sale) => sale.visit.paid !== undefined

/** Takes the money of everybody who pays, and does something else than to deliver. */
const takesAnd = (then: (sale: Shop.Sale, transaction: string) => Shop.Reply): Shop.Script => {
  const known = new Map<string, string>()
  return (sale) => {
    const { paid } = sale.visit
    if (paid === undefined) return Shop.demands(sale)
    const transaction = known.get(paid.authorization.nonce) ?? sale.take() ?? ""
    known.set(paid.authorization.nonce, transaction)
    return then(sale, transaction)
  }
}

layer(Shop.layer, { excludeTestServices: true, timeout: "60 seconds" })("at a server", (it) => {
  it.effect("that demands again and again, the official client pays three times, ours once", () =>
    Effect.gen(function*() {
      const demandsForEver = () => takesAnd(Shop.demands)
      yield* perform(demandsForEver())
      assert.strictEqual(yield* theyGet(), 402)
      assert.deepStrictEqual(yield* account, { signed: 3, taken: 3 })

      yield* perform(demandsForEver())
      assert.strictEqual(yield* outcomeOf(get), "PaidUndelivered (spent)")
      assert.deepStrictEqual(yield* account, once)
      assert.strictEqual(yield* outcomeOf(get), "PaidUndelivered (spent)")
      assert.deepStrictEqual(yield* account, once)
      assert.deepStrictEqual(yield* standing, spent)
    }).pipe(Effect.provide(ours())))

  it.effect("that demands again and does not take what it was given, ours signs once and holds it", () =>
    Effect.gen(function*() {
      yield* perform(Shop.demands)
      assert.strictEqual(yield* theyGet(), 402)
      assert.deepStrictEqual(yield* account, { signed: 3, taken: 0 })

      yield* perform(Shop.demands)
      assert.strictEqual(yield* outcomeOf(get), "PaymentUncertain (unknown)")
      assert.strictEqual(yield* outcomeOf(get), "PaymentUncertain (unknown)")
      assert.deepStrictEqual(yield* account, { signed: 1, taken: 0 })
      assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: Shop.units })
    }).pipe(Effect.provide(ours())))

  it.effect("that refuses a payment as already used, having taken it, ours does not pay the new challenge", () =>
    Effect.gen(function*() {
      const forgets = () => takesAnd(Shop.refuses("verification-failed", "Transaction hash has already been used."))
      yield* perform(forgets())
      assert.strictEqual(yield* theyGet(), 402)
      assert.deepStrictEqual(yield* account, { signed: 3, taken: 3 })

      yield* perform(forgets())
      assert.strictEqual(yield* outcomeOf(get), "PaidUndelivered (spent)")
      assert.deepStrictEqual(yield* account, once)
      assert.deepStrictEqual(yield* standing, spent)
    }).pipe(Effect.provide(ours())))

  it.effect("whose answer is lost, the official client pays again, ours presents what it paid by", () =>
    Effect.gen(function*() {
      let isOut = true
      const outage = () => takesAnd((_, transaction) => isOut ? "reset" : Shop.delivers(transaction))
      yield* perform(outage())
      assert.strictEqual(yield* theyGet(), "failed")
      isOut = false
      assert.strictEqual(yield* theyGet(), 200)
      assert.deepStrictEqual(yield* account, { signed: 2, taken: 2 })

      isOut = true
      yield* perform(outage())
      assert.strictEqual(yield* outcomeOf(get), "PaidUndelivered (spent)")
      isOut = false
      assert.strictEqual(yield* get, content)
      assert.deepStrictEqual(yield* account, once)
      assert.deepStrictEqual(yield* standing, spent)
    }).pipe(Effect.provide(ours())))

  it.effect("whose answer is lost before it took anything, ours sends the same again", () =>
    Effect.gen(function*() {
      const honest = Shop.honest()
      let resets = 2
      yield* perform((sale) => isPaid(sale) && resets-- > 0 ? "reset" : honest(sale))
      assert.strictEqual(yield* get, content)
      assert.deepStrictEqual(yield* account, once)
      assert.deepStrictEqual(yield* standing, spent)
    }).pipe(Effect.provide(ours())))

  it.effect("that fails after it took the money, the official client forgets the receipt, ours resumes", () =>
    Effect.gen(function*() {
      let isBroken = true
      const failing = () => takesAnd((_, transaction) => Shop.delivers(transaction, isBroken ? 500 : 200))
      yield* perform(failing())
      assert.deepStrictEqual([yield* theyGet(), yield* theyGet()], [500, 500])
      assert.deepStrictEqual(yield* account, { signed: 2, taken: 2 })

      yield* perform(failing())
      assert.strictEqual(yield* outcomeOf(get), "PaidUndelivered (spent)")
      isBroken = false
      assert.strictEqual(yield* get, content)
      assert.deepStrictEqual(yield* account, once)
      assert.deepStrictEqual(yield* standing, spent)
    }).pipe(Effect.provide(ours())))

  it.effect("beyond this machine, the official client pays over plain http, ours does not", () =>
    Effect.gen(function*() {
      const { url } = yield* Shop.ScriptedShop
      yield* perform(Shop.honest())
      const client = theirs(resolving(url))
      const answered = yield* Effect.promise(() => client.fetch(`${remote}/`))
      assert.strictEqual(answered.status, 200)
      assert.deepStrictEqual(yield* account, once)

      yield* perform(Shop.honest())
      const { money, reason } = yield* failureOf(execute(HttpClientRequest.get(`${remote}/`)))
      assert.deepInclude(reason, { _tag: "PolicyDenied", rule: "plain-http" })
      assert.strictEqual(money, "unspent")
      assert.deepStrictEqual(yield* account, nothing)
    }).pipe(Effect.provide(ours())))

  it.effect("whose challenge never expires, the official client pays, ours does not", () =>
    Effect.gen(function*() {
      const honest = Shop.honest()
      const eternal: Shop.Script = (sale) =>
        isPaid(sale) ? honest(sale) : Shop.demand(Shop.challenge(sale, { expires: null }))
      yield* perform(eternal)
      assert.strictEqual(yield* theyGet(), 200)
      assert.deepStrictEqual(yield* account, once)

      yield* perform(eternal)
      const { money, reason } = yield* failureOf(get)
      assert.strictEqual(reason._tag, "NoPayableOffer")
      assert.include(reason.message, "never expires")
      assert.strictEqual(money, "unspent")
      assert.deepStrictEqual(yield* account, nothing)
    }).pipe(Effect.provide(ours())))

  for (
    const { name, line } of [
      { name: "lacks its request", line: `Payment id="1", realm="shop", method="evm", intent="charge"` },
      { name: "asks for no JSON", line: `Payment id="1", realm="s", method="evm", intent="charge", request="!!"` },
      { name: "has no name", line: `Payment id="", realm="s", method="evm", intent="charge", request="e30"` }
    ]
  ) {
    it.effect(`one of whose challenges ${name}, the official client pays by none, ours by the good one`, () =>
      Effect.gen(function*() {
        const honest = Shop.honest()
        const garbled: Shop.Script = (sale) =>
          isPaid(sale) ? honest(sale) : Shop.demand(`${line}, ${Shop.challenge(sale)}`)
        yield* perform(garbled)
        assert.strictEqual(yield* theyGet(), "failed")
        assert.deepStrictEqual(yield* account, nothing)

        yield* perform(garbled)
        assert.strictEqual(yield* get, content)
        assert.deepStrictEqual(yield* account, once)
      }).pipe(Effect.provide(ours())))
  }

  it.effect("that writes its request in an order of its own, ours echoes it character for character", () =>
    Effect.gen(function*() {
      const honest = Shop.honest()
      const strict: Shop.Script = (sale) =>
        isPaid(sale) && Shop.isOurs(sale)
          ? honest(sale)
          : Shop.demand(Shop.challenge(sale, { json: Shop.requestInOtherOrder }))
      yield* perform(strict)
      assert.strictEqual(yield* theyGet(), 402)
      assert.deepStrictEqual(yield* account, { signed: 3, taken: 0 })

      yield* perform(strict)
      assert.strictEqual(yield* get, content)
      assert.deepStrictEqual(yield* account, once)
    }).pipe(Effect.provide(ours())))

  it.effect("the official client pays although the hook that watches challenges throws, ours does not if the ranking throws", () =>
    Effect.gen(function*() {
      const refuse = () => {
        throw new Error("too dear")
      }
      yield* perform(Shop.honest())
      const client = theirs()
      client.onChallengeReceived(refuse)
      assert.strictEqual(yield* theyGet(client), 200)
      assert.deepStrictEqual(yield* account, once)

      yield* perform(Shop.honest())
      assert.strictEqual(yield* outcomeOf(Effect.provideService(get, Choice.Ranking, refuse)), "PolicyDenied (unspent)")
      assert.deepStrictEqual(yield* account, nothing)
      assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 0n })
      // and the next request is not held up by it
      assert.strictEqual(yield* get, content)
    }).pipe(Effect.provide(ours())))

  it.effect("ours pays nothing if the wallet refuses, and holds nothing", () => {
    const refusing = Layer.effect(
      Wallet.Wallet,
      Effect.map(Wallet.Wallet, (wallet) =>
        Wallet.Wallet.of({
          ...wallet,
          signTypedData: () => Effect.fail(new PaymentError.WalletError({ operation: "sign", detail: "refused" }))
        }))
    ).pipe(Layer.provide(TestWallet.layer))
    return Effect.gen(function*() {
      yield* perform(Shop.honest())
      assert.strictEqual(yield* outcomeOf(get), "WalletError (unspent)")
      assert.deepStrictEqual(yield* account, nothing)
      assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 0n })
    }).pipe(Effect.provide(ours(refusing)))
  })

  it.effect("that gives everybody the same challenge, ours answers it for one request, and signs nothing for the other", () =>
    Effect.gen(function*() {
      const honest = Shop.honest()
      let line: string | undefined
      yield* perform((sale) => isPaid(sale) ? honest(sale) : Shop.demand(line ??= Shop.challenge(sale)))
      const both = yield* Effect.all([outcome(get), outcome(get)], { concurrency: "unbounded" })
      assert.sameMembers(both, [content, "PolicyDenied (unspent)"])
      assert.deepStrictEqual(yield* account, once)
      assert.deepStrictEqual(yield* standing, spent)
    }).pipe(Effect.provide(ours())))

  it.effect("that gives requests of one moment the same challenge, ours asks for another one, and both get their content", () =>
    Effect.gen(function*() {
      const honest = Shop.honest()
      let asked = 0
      let line = ""
      yield* perform((sale) => {
        if (isPaid(sale)) return honest(sale)
        if (asked++ !== 1) line = Shop.challenge(sale)
        return Shop.demand(line)
      })
      const both = yield* Effect.all([outcome(get), outcome(get)], { concurrency: "unbounded" })
      assert.deepStrictEqual(both, [content, content])
      assert.deepStrictEqual(yield* account, { signed: 2, taken: 2 })
      assert.deepStrictEqual(yield* standing, { spent: 2n * Shop.units, exposed: 0n })
    }).pipe(Effect.provide(ours())))

  it.effect("that sells by POST, ours names the purchase by the same Idempotency-Key every time it sends it", () =>
    Effect.gen(function*() {
      const { url, visits } = yield* Shop.ScriptedShop
      const keys = Effect.map(
        visits,
        (all) => all.filter(({ paid }) => paid !== undefined).map(({ headers }) => headers["idempotency-key"])
      )
      yield* perform(Shop.honest())
      assert.strictEqual(yield* theyGet(theirs(), { method: "POST", body: "a question" }), 200)
      assert.deepStrictEqual(yield* keys, [undefined])

      const honest = Shop.honest()
      let resets = 1
      yield* perform((sale) => isPaid(sale) && resets-- > 0 ? "reset" : honest(sale))
      const post = HttpClientRequest.post(`${url}/`).pipe(HttpClientRequest.bodyText("a question"))
      const keyed = HttpClientRequest.setHeader(post, "idempotency-key", "question-1")
      assert.strictEqual(yield* execute(keyed), content)
      assert.deepStrictEqual(yield* keys, ["question-1", "question-1"])
      assert.deepStrictEqual(yield* account, once)

      yield* perform(Shop.honest())
      assert.strictEqual(yield* execute(post), content)
      const [key] = yield* keys
      assert.match(key?.toString() ?? "", /^pay_/)
    }).pipe(Effect.provide(ours())))

  it.effect("whose challenge is bound to another body, the official client pays, ours does not", () =>
    Effect.gen(function*() {
      const { url } = yield* Shop.ScriptedShop
      const digest = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
      const honest = Shop.honest()
      const bound: Shop.Script = (sale) => isPaid(sale) ? honest(sale) : Shop.demand(Shop.challenge(sale, { digest }))
      yield* perform(bound)
      assert.strictEqual(yield* theyGet(theirs(), { method: "POST", body: "a question" }), 200)
      assert.deepStrictEqual(yield* account, once)

      yield* perform(bound)
      const post = HttpClientRequest.post(`${url}/`).pipe(HttpClientRequest.bodyText("a question"))
      const { reason } = yield* failureOf(execute(post))
      assert.deepInclude(reason, { _tag: "PolicyDenied", rule: "digest-mismatch" })
      assert.deepStrictEqual(yield* account, nothing)
      // it is the digest of no body
      assert.strictEqual(yield* get, content)
    }).pipe(Effect.provide(ours())))

  it.effect("whose receipt is of another payment, ours asks the chain before it counts anything as spent", () =>
    Effect.gen(function*() {
      yield* perform((sale) =>
        isPaid(sale)
          ? Shop.delivers(`0x${"1".repeat(64)}`, 200, { challengeId: "another" })
          : Shop.demands(sale)
      )
      assert.strictEqual(yield* get, content)
      const [bill] = yield* Ledger.Ledger.use((ledger) => ledger.purchases({}))
      const [authorization] = bill!.authorizations
      assert.strictEqual(authorization!.state, "unknown")
      assert.isTrue(authorization!.evidence.some(({ mismatch }) => mismatch === true))
      assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: Shop.units })
      assert.deepStrictEqual(yield* account, { signed: 1, taken: 0 })
    }).pipe(Effect.provide(ours())))
})
