import { assert, describe, it } from "@effect/vitest"
import { HttpBody, HttpClientRequest } from "effect/http"
import * as PurchaseKey from "../src/PurchaseKey.ts"

const url = new URL("https://merchant.test/a?page=1")
const key = (
  change: (request: HttpClientRequest.HttpClientRequest) => HttpClientRequest.HttpClientRequest = (it) => it,
  agent = "agent",
  at = url
) => PurchaseKey.of(agent, change(HttpClientRequest.post(at.href)), at)

const header = (name: string, value: string) => key(HttpClientRequest.setHeader(name, value))
const body = (content: HttpBody.HttpBody) => key(HttpClientRequest.setBody(content))

describe("PurchaseKey", () => {
  it("is the same for equal requests", () => {
    assert.strictEqual(key(), key())
    assert.strictEqual(body(HttpBody.text("x")), body(HttpBody.text("x")))
  })

  it("differs by agent, URL, query and body", () => {
    const keys = [
      key(),
      key(undefined, "other"),
      key(undefined, "agent", new URL("https://merchant.test/b?page=1")),
      key(undefined, "agent", new URL("https://merchant.test/a?page=2")),
      body(HttpBody.text("x")),
      body(HttpBody.text("y"))
    ]
    assert.strictEqual(new Set(keys).size, keys.length)
  })

  it("differs by whatever names a tenant", () => {
    const keys = ["authorization", "cookie", "x-api-key", "x-tenant", "accept", "range"].flatMap((name) => [
      header(name, "a"),
      header(name, "b")
    ])
    assert.strictEqual(new Set([key(), ...keys]).size, keys.length + 1)
  })

  it("does not differ by what only passes by", () => {
    for (const name of ["traceparent", "b3", "user-agent", "date", "x-request-id"]) {
      assert.strictEqual(header(name, "now"), key(), name)
    }
  })

  it("is named by an Idempotency-Key, for whoever is authorised, whatever the body", () => {
    const named = (content: string, authorization: string) =>
      key((request) =>
        request.pipe(
          HttpClientRequest.setHeaders({ "idempotency-key": "order-1", authorization }),
          HttpClientRequest.bodyText(content)
        )
      )
    assert.strictEqual(named("x", "me"), named("y", "me"))
    assert.notStrictEqual(named("x", "me"), named("x", "you"))
    assert.notStrictEqual(named("x", "me"), key())
  })

  it("is none where the bytes of a body are not at hand", () => {
    const form = new FormData()
    form.append("file", new Blob(["x"]), "x.txt")
    assert.isUndefined(body(HttpBody.formData(form)))
    assert.isUndefined(body(HttpBody.raw(new Blob(["x"]))))
    const fields = new FormData()
    fields.append("name", "value")
    assert.isString(body(HttpBody.formData(fields)))
  })

  it("keeps nothing of what it was made from", () => {
    assert.match(header("authorization", "Bearer SECRET")!, /^0x[0-9a-f]{64}$/)
  })
})

describe("PurchaseKey of a call", () => {
  const call = (
    params: { readonly [name: string]: unknown },
    agent = "agent",
    origin = "mcp://a",
    method = "tools/call"
  ) => PurchaseKey.ofCall(agent, origin, method, params)
  const params = { name: "search", arguments: { a: 1, b: [{ c: null, d: "x" }] } }

  it("is the same for equal calls, in whatever order their arguments are written", () => {
    assert.strictEqual(call(params), call({ arguments: { b: [{ d: "x", c: null }], a: 1 }, name: "search" }))
    assert.strictEqual(call({ name: "a" }), call({ name: "a", arguments: undefined }))
  })

  it("differs by agent, server, method, name and arguments", () => {
    const keys = [
      call(params),
      call(params, "other"),
      call(params, "agent", "mcp://b"),
      call(params, "agent", "mcp://a", "prompts/get"),
      call({ ...params, name: "other" }),
      call({ ...params, arguments: { a: 1 } }),
      call({ ...params, arguments: { ...params.arguments, a: "1" } }),
      call({ ...params, arguments: { ...params.arguments, b: [{ c: null }, { d: "x" }] } })
    ]
    assert.strictEqual(new Set(keys).size, keys.length)
  })

  it("differs by what metadata selects, and not by what passes by", () => {
    const passing = { progressToken: 1, traceparent: "00-1", "io.modelcontextprotocol/clientInfo": { name: "a" } }
    assert.strictEqual(call({ ...params, _meta: passing }), call(params))
    assert.notStrictEqual(call({ ...params, _meta: { tenant: "a" } }), call(params))
  })

  it("knows arguments that are nested too deeply to be read", () => {
    const deep: unknown = JSON.parse("[".repeat(100) + "]".repeat(100))
    assert.strictEqual(call({ deep }), call({ deep }))
    assert.notStrictEqual(call({ deep }), call({ deep: [deep] }))
  })

  it("is none for what cannot be written", () => {
    const circle: Array<unknown> = []
    circle.push(circle)
    assert.isUndefined(call({ circle }))
    assert.isUndefined(call({ a: 1n }))
  })
})
