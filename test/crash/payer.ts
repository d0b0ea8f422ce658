/**
 * A process that pays for what it is told to on its standard input, and is killed meanwhile: by its parent, or by itself at
 * the point that it was told. It says on its standard output what it has got; what it has said is not lost when it dies.
 */
import { secp256k1 } from "@noble/curves/secp256k1"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { writeSync } from "node:fs"
import { flushCompileCache } from "node:module"
import * as Ledger from "../../src/Ledger.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import * as Payment from "../../src/Payment.ts"
import * as PaymentError from "../../src/PaymentError.ts"
import type * as Wallet from "../../src/Wallet.ts"
import * as Agent from "./agent.ts"
import { lastWords, Order, type Point, Said, Setup } from "./protocol.ts"

const setup = Schema.decodeUnknownSync(Schema.fromJsonString(Setup))(process.env["MPP_CRASH_SETUP"])

const encode = Schema.encodeSync(Schema.fromJsonString(Said))
const say = (said: Said) => writeSync(1, `${encode(said)}\n`)

// The library that signs prepares itself for many thousand signatures. A process that lives for half a second makes three.
secp256k1.ProjectivePoint.BASE._setWindowSize(2)

// ---------------------------------------------------------------------------------------------------------------------
// Where it dies
// ---------------------------------------------------------------------------------------------------------------------

const die = () => process.kill(process.pid, "SIGKILL")

const counts = new Map<string, number>()

/** Passes a point, or dies there. */
const pass = (step: Point["step"]) =>
  Effect.sync(() => {
    const { kill } = setup
    if (kill === null || kill.step !== step) return
    const count = (counts.get(step) ?? 0) + 1
    counts.set(step, count)
    if (count !== kill.nth) return
    if (kill.afterMillis === 0) die()
    else setTimeout(die, kill.afterMillis)
  })

const around = (step: Point["step"]) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.andThen(pass(step), Effect.tap(effect, () => pass(step)))

const writing = (ledger: Ledger.Ledger["Service"]): Ledger.Ledger["Service"] => {
  const step = around("ledger")
  const { mutation } = setup
  return {
    ...ledger,
    // What is written only when it is known is lost when nobody lives to know it.
    authorize: (draft) =>
      mutation === "hasty"
        ? Effect.asVoid(Effect.forkDetach(Effect.delay(ledger.authorize(draft), "40 millis")))
        : step(ledger.authorize(draft)),
    resent: (id) => step(ledger.resent(id)),
    advanced: (id, broadcast) => step(ledger.advanced(id, broadcast)),
    judged: (id, judgement) => step(ledger.judged(id, judgement)),
    delivered: (purchase, delivery) => step(ledger.delivered(purchase, delivery)),
    claim: (key, owner) => mutation === "unclaiming" ? Effect.succeedNone : step(ledger.claim(key, owner)),
    orphans: step(ledger.orphans),
    updateSession: (id, change) => step(ledger.updateSession(id, change)),
    closeSession: (id, close) => step(ledger.closeSession(id, close))
  }
}

const ledger = Layer.effect(Ledger.Ledger, Effect.map(Ledger.Ledger, writing)).pipe(
  Layer.provide(setup.mutation === "forgetful" ? Ledger.layerMemory({ quiet: true }) : Agent.ledgerOf(setup.ledger))
)

const signing = (wallet: Wallet.Wallet["Service"]): Wallet.Wallet["Service"] => ({
  ...wallet,
  signTypedData: (data) => around("sign")(wallet.signTypedData(data)),
  signTransaction: (transaction, serializer) => around("sign")(wallet.signTransaction(transaction, serializer))
})

const credentials = ["authorization", "payment-authorization", "payment-signature", "x-payment"]

const client = Layer.effect(
  HttpClient.HttpClient,
  Effect.map(HttpClient.HttpClient, (client) =>
    HttpClient.transform(client, (sent, request) => {
      const isPaid = !request.url.startsWith(setup.endpoint) &&
        credentials.some((name) => request.headers[name] !== undefined)
      return around("send")(isPaid ? around("present")(sent) : sent)
    }))
).pipe(Layer.provide(FetchHttpClient.layer))

// ---------------------------------------------------------------------------------------------------------------------
// What it does
// ---------------------------------------------------------------------------------------------------------------------

const fetched = ({ name, url }: Order) =>
  Effect.gen(function*() {
    const paying = yield* PayingClient.PayingClient
    const response = yield* paying.execute(HttpClientRequest.get(url))
    if (response.status !== 200) return yield* Effect.fail(`status ${response.status}`)
    let content = ""
    yield* Stream.runForEach(response.stream, (chunk) =>
      Effect.suspend(() => {
        content += new TextDecoder().decode(chunk)
        // Said before anything else hears of it: from here on the caller has what it asked for.
        if (content.endsWith(lastWords)) say({ _tag: "Content", name, content })
        return pass("body")
      }))
    if (!content.endsWith(lastWords)) return yield* Effect.fail("the content was cut")
  }).pipe(
    Payment.with({ key: name, expect: 8 }),
    Effect.catch((error) =>
      Effect.sync(() => {
        const found = Option.getOrUndefined(PaymentError.find(error))
        say({
          _tag: "Failed",
          name,
          reason: found?.reason._tag ?? "Other",
          rule: found?.reason._tag === "PolicyDenied" ? found.reason.rule : "",
          money: found?.money ?? "none",
          message: String(found?.message ?? error)
        })
      })
    )
  )

const orders = Stream.fromAsyncIterable<Uint8Array, string>(process.stdin, () => "the input broke").pipe(
  Stream.decodeText,
  Stream.splitLines,
  Stream.mapEffect((line) => Schema.decodeUnknownEffect(Schema.fromJsonString(Order))(line))
)

const program = Effect.gen(function*() {
  say({ _tag: "Ready" })
  flushCompileCache()
  yield* Stream.runForEach(Stream.mapEffect(orders, fetched, { concurrency: "unbounded" }), () => Effect.void)
}).pipe(
  Effect.provide(Agent.layer(setup, { ledger, client, wallet: signing })),
  Effect.provide(Logger.layer([]))
)

await Effect.runPromise(program)
process.exit(0)
