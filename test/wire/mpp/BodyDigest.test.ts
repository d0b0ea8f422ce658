import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import * as BodyDigest from "../../../src/wire/mpp/BodyDigest.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

// Published by RFC 9530 and by another implementation.
const vectors: ReadonlyArray<readonly [body: string, digest: string]> = [
  ["", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="],
  ["{\"hello\": \"world\"}", "X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE="],
  ["{\"amount\":\"1000\"}", "Bxp4xJtbVfsB9npD5AEWUnIk76Cuv8Au4ECDA+F0biY="]
]

describe("BodyDigest", () => {
  it.each(vectors)("is that of the bytes of %s", (body, digest) => {
    assert.strictEqual(BodyDigest.of(bytes(body)), `sha-256=:${digest}:`)
    assert.isTrue(BodyDigest.matches(`sha-256=:${digest}:`, bytes(body)))
    assert.isTrue(BodyDigest.matches(`sha-256=${digest}`, bytes(body)))
    assert.isFalse(BodyDigest.matches(`sha-256=:${digest}:`, bytes(`${body} `)))
  })

  it.each([
    "",
    "sha-256=",
    "sha-256=::",
    "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "sha-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    "sha-256=:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=:",
    "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU:",
    "sha-512=:z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==:",
    "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:",
    "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:, sha-512=:AAAA:",
    `sha-256=:${":".repeat(100_000)}`
  ])("matches nothing if it is %s", (digest) => {
    assert.isFalse(BodyDigest.matches(digest, new Uint8Array()))
  })

  it.prop("changes with the body", [Schema.Uint8Array, Schema.Uint8Array], ([one, two]) => {
    assert.strictEqual(BodyDigest.of(one), `sha-256=:${createHash("sha256").update(one).digest("base64")}:`)
    assert.strictEqual(BodyDigest.matches(BodyDigest.of(one), two), `${one}` === `${two}`)
  })

  it.prop("never throws", [Schema.String], ([text]) => {
    BodyDigest.matches(text, new Uint8Array())
    BodyDigest.matches(`sha-256=:${text}:`, new Uint8Array())
  })
})
