import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Json from "../../../src/wire/Json.ts"
import * as AuthScheme from "../../../src/wire/mpp/AuthScheme.ts"
import * as Challenge from "../../../src/wire/mpp/Challenge.ts"
import * as Credential from "../../../src/wire/mpp/Credential.ts"
import * as SeedChallenge from "../../../src/wire/mpp/SeedChallenge.ts"

const request = Json.toBase64Url({
  amount: "1000000",
  currency: "0x20c0000000000000000000000000000000000000",
  recipient: "0x742d35Cc6634C0532925a3b844Bc9e7595f8fE00",
  methodDetails: { chainId: 4217, supportedModes: ["pull"] }
})

const standard = {
  id: "x7Tg2pLqR9mKvNwY3hBcZa",
  realm: "api.example.com",
  method: "tempo",
  intent: "charge",
  request
}

const terms = { id: "c_1", realm: "api.example.com", priceUsdc: 1_000n }

const line = (params: Readonly<Record<string, string>>) => AuthScheme.format("Payment", Object.entries(params))

const classes = (header: string) => Challenge.parse(header).map(({ _tag }) => _tag)

const whyNot = (params: Readonly<Record<string, string>>): string => {
  const [outcome] = Challenge.parse(line(params))
  assert.strictEqual(outcome?._tag, "Malformed")
  return outcome?._tag === "Malformed" ? outcome.why : ""
}

describe("Challenge.parse", () => {
  it("keeps a standard challenge as it was received", () => {
    const received = {
      ...standard,
      expires: "2026-01-15T12:05:00Z",
      digest: "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
      description: "one — \"report\"",
      opaque: "eXkgd3Jvbmc",
      header: "Payment-Authorization"
    }
    assert.deepStrictEqual(Challenge.parse(line(received)), [{
      _tag: "Standard",
      challenge: received,
      request: Option.getOrThrow(Json.fromBase64(request))
    }])
  })

  it("does not care for the order of the keys in a request", () => {
    const unordered = Json.toBase64Url({ recipient: "r", methodDetails: {}, amount: "1" })
    const [outcome] = Challenge.parse(line({ ...standard, request: unordered }))
    assert.isTrue(outcome?._tag === "Standard" && outcome.challenge.request === unordered)
  })

  it("reads the dialect, separated by spaces or commas, in base64 of either alphabet", () => {
    const encoded = Json.toBase64({ id: "c_1", realm: "api.example.com", priceUsdc: "0.001", note: "??>>" })
    const url = encoded.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")
    for (
      const header of [
        `Payment realm="api.example.com" challenge="${encoded}" scheme="mpp/1.0"`,
        `Payment realm="API.example.com", challenge="${url}", scheme="MPP/1"`,
        `Payment challenge=${encoded}`,
        SeedChallenge.format(terms)
      ]
    ) {
      const [outcome] = Challenge.parse(header)
      assert.strictEqual(outcome?._tag, "Seed", header)
      assert.strictEqual(outcome?._tag === "Seed" && outcome.challenge.priceUsdc, 1_000n)
    }
  })

  it("judges each challenge by itself", () => {
    const header = [
      "Basic realm=\"x, Payment id=1\"",
      line({ ...standard, method: "Tempo" }),
      line(standard),
      "Payment",
      SeedChallenge.format(terms),
      "Payment id=\"never ends"
    ].join(", ")
    assert.deepStrictEqual(classes(header), ["Malformed", "Standard", "Unsupported", "Seed", "Malformed"])
  })

  it("takes a challenge of both forms for a standard one", () => {
    assert.deepStrictEqual(
      classes(line({ ...standard, challenge: SeedChallenge.encode(terms), scheme: "mpp/1.0" })),
      ["Standard"]
    )
  })

  it.each(["tempo", "a", "x402:exact_v-2"])("knows %s for the name of a method", (method) => {
    assert.deepStrictEqual(classes(line({ ...standard, method })), ["Standard"])
  })

  it("reads a request as long as it says", () => {
    const long = Json.toBase64Url({ a: "x".repeat(16_384 * 3 / 4 - 8) })
    assert.strictEqual(long.length, Challenge.maxRequestLength)
    assert.deepStrictEqual(classes(line({ ...standard, request: long })), ["Standard"])
  })

  it("keeps a request whose members are in another order than ours would be", () => {
    const published =
      "eyJhbW91bnQiOiIxMDAwMDAwIiwiY3VycmVuY3kiOiIweDIwYzAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAiLCJyZWNpcGllbnQiOiIweDc0MmQzNUNjNjYzNEMwNTMyOTI1YTNiODQ0QmM5ZTc1OTVmOGZFMDAiLCJtZXRob2REZXRhaWxzIjp7ImNoYWluSWQiOjQyMTcsInN1cHBvcnRlZE1vZGVzIjpbInB1bGwiXX19"
    const [outcome] = Challenge.parse(line({ ...standard, request: published }))
    assert.strictEqual(outcome?._tag === "Standard" ? outcome.challenge.request : "", published)
  })

  it.each([
    ["id=\"2\""],
    ["ID=\"2\""],
    ["Realm=other"],
    ["description=a, DESCRIPTION=b"],
    ["opaque=a, opaque=a"]
  ])("refuses a challenge with %s beside what it says already", (more) => {
    assert.deepStrictEqual(classes(`${line(standard)}, ${more}`), ["Malformed"])
  })

  it("ignores parameters that are named like members of every object", () => {
    const names = ["constructor", "__proto__", "hasOwnProperty", "toString", "valueOf"]
    const header = line({ ...standard, ...Object.fromEntries(names.map((name) => [name, "x"])) })
    const [outcome] = Challenge.parse(header)
    assert.deepStrictEqual(outcome?._tag === "Standard" ? outcome.challenge : outcome, standard)
  })

  it.each([
    "Payment",
    "Payment ",
    ", Payment fake challenge",
    "comma, Payment id=\"2\", realm=\"r\"",
    "\\, Payment id=\"2\"",
    "\"\", Payment id=\"2\", \"",
    "\t,\tpayment\tid=2",
    "Bearer, Payment, Payment"
  ])("finds no challenge in a description of %j", (description) => {
    const [outcome, ...others] = Challenge.parse(`Bearer realm="x", ${line({ ...standard, description })}, Basic`)
    assert.deepStrictEqual(others, [])
    assert.deepStrictEqual(
      outcome?._tag === "Standard" ? outcome.challenge : outcome,
      { ...standard, description }
    )
  })

  it.each([
    `Bearer realm="x", ${line(standard)}`,
    `${line(standard)}, Bearer realm="x", error="invalid_token"`,
    `Negotiate YWJj/+d==,  ${line(standard)} ,Digest nonce="n"`,
    line(standard).replace("Payment ", "pAyMeNt\t").replaceAll(", ", " ,\t"),
    line(standard).replaceAll(", ", ","),
    line(standard).replaceAll("=\"", " = \"").replace("realm", "REALM")
  ])("finds the one challenge in %s", (header) => {
    const [outcome, ...others] = Challenge.parse(header)
    assert.deepStrictEqual(others, [])
    assert.deepStrictEqual(outcome?._tag === "Standard" ? outcome.challenge : outcome, standard)
  })

  it("does not look for challenges within quotes", () => {
    assert.deepStrictEqual(
      classes(line({ ...standard, description: `challenge="${SeedChallenge.encode(terms)}"` })),
      ["Standard"]
    )
  })

  it.each<readonly [string, Readonly<Record<string, string>>, string]>([
    ["an empty id", { ...standard, id: "" }, "its id"],
    ["an id of several lines", { ...standard, id: "1\nPayment id=2" }, "its id"],
    ["an id that turns text around", { ...standard, id: "1\u202e2" }, "its id"],
    ["an id with a line separator", { ...standard, id: "1\u2028Payment id=2" }, "its id"],
    ["a realm with a paragraph separator", { ...standard, realm: "a\u2029b" }, "its realm"],
    ["an id without measure", { ...standard, id: "1".repeat(513) }, "its id"],
    ["an empty realm", { ...standard, realm: "" }, "its realm"],
    ["an empty method", { ...standard, method: "" }, "its method"],
    ["a method that begins with a digit", { ...standard, method: "402" }, "its method"],
    ["an empty intent", { ...standard, intent: "" }, "its intent"],
    ["an empty request", { ...standard, request: "" }, "its request"],
    ["opaque data without measure", { ...standard, opaque: "A".repeat(16_385) }, "its opaque"],
    ["a header of two lines", { ...standard, header: "Authorization\r\nCookie" }, "its header"],
    ["a header that is another's", { ...standard, header: "Proxy-Authorization" }, "its header"],
    ["a method in capitals", { ...standard, method: "Tempo" }, "its method"],
    ["a method that is none", { ...standard, method: "tempo/charge" }, "its method"],
    ["an intent that is none", { ...standard, intent: "a b" }, "its intent"],
    ["a realm that turns text around", { ...standard, realm: "a\u202eb" }, "its realm"],
    ["a padded request", { ...standard, request: "e30=" }, "its request"],
    ["a request in the other alphabet", { ...standard, request: "eyJhIjoi8J+YgD8/In0" }, "its request"],
    ["a request that is a list", { ...standard, request: "W10" }, "its request"],
    ["a request that is no JSON", { ...standard, request: "eXkgd3Jvbmc" }, "its request"],
    ["a request without measure", { ...standard, request: "A".repeat(16_385) }, "its request"],
    ["an expiry that is none", { ...standard, expires: "tomorrow" }, "its expires"],
    ["an expiry that does not exist", { ...standard, expires: "2026-13-01T00:00:00Z" }, "its expires"],
    ["a header that is not for credentials", { ...standard, header: "Cookie" }, "its header"],
    ["a missing request", { id: "1", realm: "r", method: "tempo", intent: "charge" }, "it lacks request"],
    [
      "an opaque challenge of unknown form",
      { realm: "r", challenge: "ch_123" },
      "it lacks id, method, intent, request"
    ],
    ["a dialect of another version", {
      realm: "r",
      challenge: SeedChallenge.encode(terms),
      scheme: "mpp/2.0"
    }, "it lacks"],
    ["the dialect with an id beside it", { id: "1", challenge: SeedChallenge.encode(terms) }, "it lacks realm"],
    ["two realms", { realm: "other.example", challenge: SeedChallenge.encode(terms) }, "it names two realms"],
    ["a dialect without a price", {
      realm: "r",
      challenge: Json.toBase64({ id: "1", realm: "r" })
    }, "its priceUsdc is missing or malformed"]
  ])("refuses %s", (_, params, why) => {
    assert.include(whyNot(params), why)
  })

  it("does not read a header of a megabyte", () => {
    assert.deepStrictEqual(classes(line({ ...standard, extra: "x".repeat(1_000_000) })), ["Malformed"])
  })

  const pieces = Schema.Array(Schema.Literals([
    "Payment ",
    "payment\t",
    "Bearer ",
    "id=\"1\"",
    "realm=r",
    "method=tempo",
    "intent=\"charge\"",
    `request=${request}`,
    "request=\"W10\"",
    `challenge="${SeedChallenge.encode(terms)}"`,
    "challenge=ch_1",
    "scheme=\"mpp/1.0\"",
    "expires=\"never\"",
    ",",
    ", ",
    " ",
    "\"",
    "\\",
    "=",
    "\\u0000"
  ]))

  it.prop("puts every challenge into exactly one class and never throws", [pieces, Schema.String], ([parts, text]) => {
    for (const header of [parts.join(""), parts.join(", "), `Payment ${parts.join(",")}`, text, `Payment ${text}`]) {
      for (const outcome of Challenge.parse(header)) {
        assert.include(["Standard", "Seed", "Malformed", "Unsupported"], outcome._tag)
      }
    }
  }, { arbitrary: { runs: 500 } })

  const known = new Set([...Object.keys(standard), "expires", "digest", "description", "opaque", "header"])
  const Names = Schema.Array(Schema.String.check(Schema.isPattern(/^[a-z][a-z0-9_-]{0,12}$/)))

  it.prop("takes a standard challenge for one, whatever else it has", [Names, Schema.String], ([names, value]) => {
    const others = [...new Set(names)].filter((name) => !known.has(name))
    const params = { ...Object.fromEntries(others.map((name) => [name, value])), ...standard }
    assert.deepStrictEqual(classes(line(params)), ["Standard"])
  })

  it.prop(
    "never takes a standard challenge with a gap for one of the dialect",
    [Schema.Literals(["id", "realm", "method", "intent", "request"])],
    ([gap]) => {
      const { [gap]: _, ...rest } = standard
      assert.deepStrictEqual(
        classes(line({ ...rest, challenge: SeedChallenge.encode(terms), scheme: "mpp/1.0" })),
        ["Malformed"]
      )
    }
  )

  const Arbitrary = Schema.Struct({
    ...Challenge.Challenge.fields,
    id: Schema.Literals(["x7Tg2pLqR9mKvNwY3hBcZa", "\"1\"", "\\u0041, Payment id=2", "née 😀"]),
    realm: Schema.Literals(["api.example.com", "die \"Bücherei\" — \\\\", "😀"]),
    request: Schema.Literals([request, "e30"]),
    expires: Schema.optionalKey(Schema.Literals(["2026-01-15T12:05:00Z", "2026-01-15T12:05:00.123+02:00"])),
    header: Schema.optionalKey(Schema.Literals(["Authorization", "Payment-Authorization"]))
  })

  it.prop("undoes format", [Arbitrary], ([challenge]) => {
    const [outcome] = Challenge.parse(Challenge.format(challenge))
    assert.deepStrictEqual(outcome?._tag === "Standard" ? outcome.challenge : outcome, challenge)
  })
})

describe("Challenge.toOffer", () => {
  const offerOf = (asked: Schema.JsonObject, extra: Readonly<Record<string, string>> = {}) => {
    const [outcome] = Challenge.parse(line({ ...standard, ...extra, request: Json.toBase64Url(asked) }))
    return outcome?._tag === "Standard"
      ? Challenge.toOffer(outcome.challenge, outcome.request)
      : Result.fail("it is no standard challenge")
  }

  it("says what it costs, where, and until when, and gives the challenge back", () => {
    const [outcome] = Challenge.parse(line({
      ...standard,
      expires: "2026-01-15T12:05:00Z",
      description: "a\u202ereport"
    }))
    assert.isTrue(outcome?._tag === "Standard")
    if (outcome?._tag !== "Standard") return
    const offer = Result.getOrThrow(Challenge.toOffer(outcome.challenge, outcome.request))
    assert.deepInclude({ ...offer }, {
      protocol: "mpp",
      intent: "charge",
      method: "tempo",
      network: "eip155:4217",
      asset: "0x20c0000000000000000000000000000000000000",
      units: 1_000_000n,
      payee: "0x742d35Cc6634C0532925a3b844Bc9e7595f8fE00",
      realm: "api.example.com",
      expiresAt: Date.UTC(2026, 0, 15, 12, 5),
      merchantText: "a report"
    })
    assert.deepStrictEqual(Challenge.fromOffer(offer), Option.some(outcome.challenge))
  })

  it("names everybody who gets a part, and is none where somebody has no name", () => {
    const asked = (splits: Schema.Json) =>
      offerOf({ amount: "10", currency: "usd", recipient: "merchant", methodDetails: { splits } })
    const parts = Result.map(asked([{ recipient: "a", amount: "1" }, { recipient: "b" }]), ({ alsoPays }) => alsoPays)
    assert.deepStrictEqual(Result.getOrThrow(parts), ["a", "b"])
    assert.isUndefined(Result.getOrThrow(asked(null)).alsoPays)
    assert.isUndefined(Result.getOrThrow(asked([])).alsoPays)
    for (const odd of [[{ amount: "1" }], [{ recipient: 1 }], ["a"], "a"]) assert.isTrue(Result.isFailure(asked(odd)))
  })

  it("keeps the native form of a challenge for its echo alone: no digest, no comparison and no credential has it", () => {
    const asked = { amount: "1", currency: "usd" }
    const [outcome] = Challenge.parse(line({ ...standard, request: Json.toBase64Url(asked) }))
    assert(outcome?._tag === "Standard")
    const native = JSON.stringify({ ...outcome.challenge, request: asked, note: "kept" })
    const offers = [undefined, native].map((native) =>
      Result.getOrThrow(Challenge.toOffer(outcome.challenge, outcome.request, native))
    )
    assert.deepStrictEqual(offers.map(Challenge.nativeOf), [Option.none(), Option.some(native)])
    assert.strictEqual(new Set(offers.map(({ digest }) => digest)).size, 1)
    for (const offer of offers) {
      const challenge = Option.getOrThrow(Challenge.fromOffer(offer))
      assert.deepStrictEqual(challenge, outcome.challenge)
      const presented = Redacted.value(Credential.format({ challenge, payload: {} }))
      assert.deepStrictEqual(
        Json.fromBase64(presented.slice("Payment ".length)),
        Option.some({ challenge: outcome.challenge, payload: {} })
      )
    }
  })

  it("takes no native form from a header, and none that is too long", () => {
    const asked = { amount: "1", currency: "usd" }
    const [outcome] = Challenge.parse(line({ ...standard, request: Json.toBase64Url(asked), native: "{}" }))
    assert(outcome?._tag === "Standard")
    assert.deepStrictEqual([outcome.native, Object.keys(outcome.challenge).includes("native")], [undefined, false])
    const long = Challenge.toOffer(outcome.challenge, outcome.request, "x".repeat(Challenge.maxNativeLength + 1))
    assert.deepStrictEqual(Challenge.nativeOf(Result.getOrThrow(long)), Option.none())
  })

  it("does not guess a network, a recipient or an expiry", () => {
    const offer = Result.getOrThrow(offerOf({ amount: "0", currency: "usd", recipient: null }))
    assert.strictEqual(offer.network, "")
    assert.strictEqual(offer.payee, "")
    assert.isUndefined(offer.expiresAt)
    assert.strictEqual(offer.units, 0n)
  })

  it("survives an expiry before time began", () => {
    assert.strictEqual(
      Result.getOrThrow(offerOf({ amount: "1", currency: "usd" }, { expires: "1901-01-01T00:00:00Z" })).expiresAt,
      0
    )
  })

  it.each<readonly [Schema.JsonObject, string]>([
    [{ currency: "usd" }, "amount"],
    [{ amount: 1000, currency: "usd" }, "amount"],
    [{ amount: "-1", currency: "usd" }, "amount"],
    [{ amount: "+1", currency: "usd" }, "amount"],
    [{ amount: "1.5", currency: "usd" }, "amount"],
    [{ amount: "1e4", currency: "usd" }, "amount"],
    [{ amount: "0x10", currency: "usd" }, "amount"],
    [{ amount: "", currency: "usd" }, "amount"],
    [{ amount: "١", currency: "usd" }, "amount"],
    [{ amount: (2n ** 256n).toString(), currency: "usd" }, "amount"],
    [{ amount: "9".repeat(10_000), currency: "usd" }, "amount"],
    [{ amount: "1" }, "currency"],
    [{ amount: "1", currency: "US Dollar" }, "currency"],
    [{ amount: "1", currency: "usd", recipient: 5 }, "recipient"],
    [{ amount: "1", currency: "usd", recipient: "send it\nhome" }, "recipient"],
    [{ amount: "1", currency: "usd", methodDetails: { chainId: "4217" } }, "methodDetails"],
    [{ amount: "1", currency: "usd", methodDetails: { chainId: 1e300 } }, "methodDetails"],
    [{ amount: "1", currency: "usd", methodDetails: [] }, "methodDetails"]
  ])("refuses a request of %j", (asked, member) => {
    assert.deepStrictEqual(offerOf(asked), Result.fail(`its ${member} is missing or malformed`))
  })
})
