import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric, Tracer } from "effect"
import * as PayingClient from "../src/PayingClient.ts"
import * as Telemetry from "../src/Telemetry.ts"
import * as AgentTest from "../src/testing/AgentTest.ts"

const agent = AgentTest.layer({
  merchant: [
    { path: "/a", price: "0.01", answer: {} },
    { path: "/refuse", price: "0.01", answer: {}, faults: ["refuse"] }
  ]
})
const get = (path: string) =>
  Effect.flatMap(PayingClient.PayingClient, (client) => client.get(`https://merchant.test${path}`))

const tracing = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return { spans, tracer }
}

describe("Telemetry", () => {
  it.effect("names a payment, its rail, amount, origin and reason in the span", () => {
    const { spans, tracer } = tracing()
    return Effect.gen(function*() {
      yield* get("/a?api_key=SECRET")
      const pay = spans.find((span) => span.name === "Payment.pay")!
      assert.strictEqual(pay.attributes.get("mpp.rail"), "test/exact")
      assert.strictEqual(pay.attributes.get("mpp.amount.usd"), "0.01")
      assert.strictEqual(pay.attributes.get("mpp.origin"), "https://merchant.test")
      assert.match(String(pay.attributes.get("mpp.payment.id")), /^pay_/)
      assert.include(String(pay.attributes.get("mpp.choice")), "x402")
      assert.isTrue(spans.some((span) => span.name === "Rail.sign"))
      const printed = spans.map((span) => JSON.stringify([span.name, [...span.attributes]])).join()
      assert.notInclude(printed, "SECRET")
    }).pipe(Effect.provide(agent), Effect.withTracer(tracer))
  })

  it.effect("makes no span of its own for what is free", () => {
    const { spans, tracer } = tracing()
    return Effect.gen(function*() {
      yield* get("/nothing")
      assert.isFalse(spans.some((span) => span.name.startsWith("Payment")))
    }).pipe(Effect.provide(agent), Effect.withTracer(tracer))
  })

  it.effect("times payments by rail and outcome, from the authorisation to the end", () =>
    Effect.gen(function*() {
      const timed = (outcome: Telemetry.Outcome) =>
        Metric.value(Metric.withAttributes(Telemetry.latency, { rail: "test/exact", outcome }))
      const before = { paid: (yield* timed("paid")).count, rejected: (yield* timed("rejected")).count }
      yield* get("/a")
      yield* Effect.flip(get("/refuse"))
      assert.strictEqual((yield* timed("paid")).count, before.paid + 1)
      assert.strictEqual((yield* timed("rejected")).count, before.rejected + 1)
      assert.strictEqual((yield* Metric.value(Telemetry.latency)).count, 0)
    }).pipe(Effect.provide(agent)))

  it.effect("counts payments by rail and outcome, and what was spent", () =>
    Effect.gen(function*() {
      const paid = Metric.withAttributes(Telemetry.payments, { rail: "test/exact", outcome: "paid" })
      const spent = Metric.withAttributes(Telemetry.amount, { rail: "test/exact" })
      const before = { paid: (yield* Metric.value(paid)).count, spent: (yield* Metric.value(spent)).count }
      yield* get("/a")
      assert.strictEqual((yield* Metric.value(paid)).count, before.paid + 1)
      assert.strictEqual((yield* Metric.value(spent)).count, before.spent + 10_000n)
      const left = Metric.withAttributes(Telemetry.budgetLeft, { agent: "default" })
      assert.strictEqual((yield* Metric.value(left)).value, 990_000n)
    }).pipe(Effect.provide(agent)))
})
