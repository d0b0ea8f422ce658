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
