import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Ref, Stream } from "effect"
import { HttpClientRequest, HttpClientResponse } from "effect/http"
import * as ResponseBody from "../src/ResponseBody.ts"

const sent = HttpClientRequest.get("https://merchant.test/a", { headers: { "payment-signature": "SECRET" } })
const asked = HttpClientRequest.get("https://merchant.test/a")

const response = (body: BodyInit | null, init?: ResponseInit) =>
  HttpClientResponse.fromWeb(sent, new Response(body, init))

const cut = () =>
  new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.enqueue(new TextEncoder().encode("half"))
      controller.error(new Error("ECONNRESET"))
    }
  }, { highWaterMark: 0 })

const slow = () =>
  new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode("first"))
  })

const watched = Effect.fnUntraced(function*(inner: HttpClientResponse.HttpClientResponse) {
  const ends = yield* Ref.make<ReadonlyArray<ResponseBody.End>>([])
  const seen = ResponseBody.watch(inner, asked, (end) => Ref.update(ends, (all) => [...all, end]))
  return { seen, ends: Ref.get(ends) }
})

describe("ResponseBody.watch", () => {
  for (const read of ["text", "json", "arrayBuffer", "stream"] as const) {
    it.effect(`calls a body complete that was read to its end as ${read}`, () =>
      Effect.gen(function*() {
        const { ends, seen } = yield* watched(response("{\"a\":1}"))
        assert.deepStrictEqual(yield* ends, [])
        if (read === "stream") yield* Stream.runDrain(seen.stream)
        else yield* seen[read] as Effect.Effect<unknown, unknown>
        assert.deepStrictEqual(yield* ends, ["complete"])
      }))
  }

  it.effect("calls a body broken that was cut", () =>
    Effect.gen(function*() {
      const byText = yield* watched(response(cut()))
      yield* Effect.flip(byText.seen.text)
      assert.deepStrictEqual(yield* byText.ends, ["broken"])
      const byStream = yield* watched(response(cut()))
      yield* Effect.flip(Stream.runDrain(byStream.seen.stream))
      assert.deepStrictEqual(yield* byStream.ends, ["broken"])
    }))

  it.effect("calls a body complete that its reader gave up", () =>
    Effect.gen(function*() {
      const { ends, seen } = yield* watched(response(slow()))
      yield* Stream.runDrain(Stream.take(seen.stream, 1))
      assert.deepStrictEqual(yield* ends, ["complete"])
    }))

  it.effect("calls a body complete that arrived whole and is not what was hoped for", () =>
    Effect.gen(function*() {
      const { ends, seen } = yield* watched(response("not json"))
      yield* Effect.flip(seen.json)
      assert.deepStrictEqual(yield* ends, ["complete"])
    }))

  it.effect("says so once, however often it is read", () =>
    Effect.gen(function*() {
      const { ends, seen } = yield* watched(response("text"))
      yield* seen.text
      yield* seen.text
      assert.deepStrictEqual(yield* ends, ["complete"])
    }))

  it.effect("shows the caller's request, also in its errors", () =>
    Effect.gen(function*() {
      const { seen } = yield* watched(response(cut()))
      const error = yield* Effect.flip(seen.text)
      for (const shown of [seen.request, error.request, error, seen]) {
        assert.notInclude(JSON.stringify(shown), "SECRET")
      }
    }))
})

describe("ResponseBody.peek", () => {
  it.effect("shows the text, and hands back a body that is whole", () =>
    Effect.gen(function*() {
      for (const read of ["text", "stream"] as const) {
        const peeked = yield* ResponseBody.peek(response("{\"a\":1}", { status: 402 }), 100)
        assert.strictEqual(peeked.text, "{\"a\":1}")
        assert.strictEqual(peeked.response.status, 402)
        const again = read === "text"
          ? yield* peeked.response.text
          : yield* Stream.mkString(Stream.decodeText(peeked.response.stream))
        assert.strictEqual(again, "{\"a\":1}")
      }
    }))

  it.effect("looks at nothing above its cap, and still hands back all of it", () =>
    Effect.gen(function*() {
      const peeked = yield* ResponseBody.peek(response("x".repeat(5_000)), 100)
      assert.isUndefined(peeked.text)
      assert.strictEqual((yield* peeked.response.text).length, 5_000)
    }))

  it.effect("takes a response without a body for empty text", () =>
    Effect.gen(function*() {
      const peeked = yield* ResponseBody.peek(response(null, { status: 402 }), 100)
      assert.strictEqual(peeked.text, "")
      assert.strictEqual(yield* peeked.response.text, "")
      assert.isNull(yield* peeked.response.json)
    }))

  it.effect("breaks again where the body broke", () =>
    Effect.gen(function*() {
      const peeked = yield* ResponseBody.peek(response(cut()), 100)
      assert.isUndefined(peeked.text)
      assert.isTrue(Option.isNone(yield* Effect.option(peeked.response.text)))
    }))
})
