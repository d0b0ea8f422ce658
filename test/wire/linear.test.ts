/**
 * Whoever reads what strangers write takes steps in proportion to its length: twice as many for twice as much. Steps are
 * counted, not timed, so that the machine and what else it does have no say.
 */
import { assert, describe, it } from "@effect/vitest"
import { stepsOf } from "./steps.ts"

// What is to be counted is loaded after the counter.
const { baits, filled, settings, transactions } = await import("./baits.ts")
const Base64 = await import("effect/encoding/Base64")
const Base64Url = await import("effect/encoding/Base64Url")
const Option = await import("effect/Option")
const Amount = await import("../../src/Amount.ts")
const Demand = await import("../../src/Demand.ts")
const { cleanText } = await import("../../src/Offer.ts")
const Json = await import("../../src/wire/Json.ts")
const AcceptPayment = await import("../../src/wire/mpp/AcceptPayment.ts")
const Challenge = await import("../../src/wire/mpp/Challenge.ts")
const Credential = await import("../../src/wire/mpp/Credential.ts")
const Problem = await import("../../src/wire/mpp/Problem.ts")
const Receipt = await import("../../src/wire/mpp/Receipt.ts")
const SeedChallenge = await import("../../src/wire/mpp/SeedChallenge.ts")
const Source = await import("../../src/wire/mpp/Source.ts")
const TempoSession = await import("../../src/wire/mpp/TempoSession.ts")
const TempoTransaction = await import("../../src/wire/mpp/TempoTransaction.ts")
const Voucher = await import("../../src/wire/mpp/Voucher.ts")
const Settlement = await import("../../src/wire/x402/Settlement.ts")
const V1 = await import("../../src/wire/x402/V1.ts")
const V2 = await import("../../src/wire/x402/V2.ts")
const { readDigest } = await import("./readers.ts")

const demandOf = (headers: { readonly [name: string]: string }, body?: string) =>
  Demand.read({ status: 402, headers, body }, 0)

const decoders: { readonly [what: string]: (text: string) => unknown } = {
  "WWW-Authenticate lines": Challenge.parse,
  credentials: Credential.parse,
  "Accept-Payment headers": (text) =>
    Option.map(AcceptPayment.parse(text), (ranges) => AcceptPayment.quality(ranges, "tempo", "charge")),
  digests: readDigest,
  receipts: Receipt.decode,
  "snapshots of channels": TempoSession.decodeSnapshot,
  "events of streams": (text) => [TempoSession.decodeNeedVoucher(text), TempoSession.decodeReceiptEvent(text)],
  "signatures of vouchers": Voucher.parseSignature,
  "challenges of the dialect": SeedChallenge.read,
  sources: Source.parse,
  problems: Problem.decode,
  "x402 demands in bodies": V1.decodeBody,
  "x402 demands in headers": V2.decodeHeader,
  "x402 payments": (text) => [V1.decodePayment(text), V2.decodePayment(text)],
  "x402 settlements": Settlement.decode,
  "JSON": (text) => Option.map(Json.parseObject(text), Json.canonical),
  amounts: (text) => Amount.parse(text, 6),
  "merchants' words": cleanText,
  "hints of other protocols": (text) =>
    demandOf({ "protocols-supported": text, "retry-after": text, "content-type": text }),
  "answers by their bodies": (text) => demandOf({}, text)
}

/** How text is written for those that read base64. */
const encodings: { readonly [what: string]: (text: string) => string } = {
  "WWW-Authenticate lines": (text) =>
    `Payment id="1", realm="a", method=tempo, intent=charge, request="${Base64Url.encode(text)}"`,
  credentials: (text) => `Payment ${Base64Url.encode(text)}`,
  receipts: Base64Url.encode,
  "snapshots of channels": Base64Url.encode,
  "challenges of the dialect": Base64.encode,
  "x402 demands in headers": Base64.encode,
  "x402 payments": Base64.encode,
  "x402 settlements": Base64.encode
}

/** For twice as much, at most this many times the steps: they are four for who looks at everything for everything. */
const most = 2.2

/** Texts of one size, of twice and of four times that. */
type Texts = readonly [ReadonlyArray<string>, ReadonlyArray<string>, ReadonlyArray<string>]

const grown = (size: number, textsOf: (size: number) => ReadonlyArray<string>): Texts => [
  textsOf(size),
  textsOf(2 * size),
  textsOf(4 * size)
]

/** How many times the steps it takes for twice as much: the most of it, for each row of texts. */
const growth = (decode: (text: string) => unknown, rows: ReadonlyArray<Texts>): ReadonlyArray<number> => {
  const runs = rows.flat().map((texts) => () => {
    for (const text of texts) decode(text)
  })
  // What is made once is made before.
  for (const run of runs) run()
  const steps = stepsOf(runs)
  return rows.map((_, row) => {
    const [one, two, four] = steps.slice(3 * row)
    return Math.max(two! / one!, four! / two!)
  })
}

/** What lies in wait in a bait, in every setting. */
const textsOf = (bait: string, size: number, encoding: ((text: string) => string) | undefined): ReadonlyArray<string> =>
  settings.flatMap((setting) => {
    const text = filled(setting, bait, size, (text) => text.length)
    return encoding === undefined ? [text] : [text, encoding(text)]
  })

describe("twice as much takes twice the steps, and not four times:", () => {
  it.each(Object.entries(decoders))("%s", { timeout: 60_000 }, (what, decode) => {
    const rows = baits.map((bait) => grown(500, (size) => textsOf(bait, size, encodings[what])))
    for (const [at, times] of growth(decode, rows).entries()) assert.isAtMost(times, most, JSON.stringify(baits[at]))
  })

  it("transactions", { timeout: 60_000 }, () => {
    // Up to the longest signature that is read, a passkey's takes steps by the square of its length, and no more after it.
    const names = transactions(1).map(([what]) => what).filter((what) => !what.startsWith("the longest"))
    const rows = names.map((name) =>
      grown(1_100, (size) => {
        const signed = transactions(size).find(([what]) => what === name)![1]
        return [signed, `${signed.slice(0, -2)}ff`]
      })
    )
    for (const [at, times] of growth(TempoTransaction.decode, rows).entries()) assert.isAtMost(times, most, names[at])
  })
})

describe("the count of steps", () => {
  const growthOf = (read: (text: string) => unknown, bait = "a") =>
    growth(read, [grown(250, (size) => [bait.repeat(size / bait.length)])])[0]!

  it("doubles with a text that is looked at once, whatever looks", () => {
    const readers: ReadonlyArray<(text: string) => unknown> = [
      (text) => /^a*$/.test(text),
      (text) => /^(?:a|b)*?$/.source.length + text.indexOf("b"),
      (text) => [...text].length,
      (text) => text.replace(/a/g, "b"),
      (text) => {
        let sum = 0
        for (let at = 0; at < text.length; at++) sum += text.charCodeAt(at)
        return sum
      }
    ]
    for (const read of readers) {
      const grown = growthOf(read)
      assert.isTrue(grown > 1.8 && grown < most, `${read}: ${grown}`)
    }
  })

  it("does more than that where all is looked at for all", () => {
    const readers: ReadonlyArray<readonly [read: (text: string) => unknown, bait: string]> = [
      // A pattern that begins at each place, and goes to the end from there.
      [(text) => `${text}b`.replace(/a+$/, ""), "a"],
      [(text) => /a*b/.test(text), "a"],
      [(text) => /^(a*)(a*)b/.test(text), "a"],
      [(text) => {
        let rest = text
        while (rest !== "") rest = rest.slice(1)
      }, "a"],
      [(text) => {
        let all = ""
        for (const one of text) if (!all.includes("b")) all += one
      }, "a"],
      [(text) => {
        let count = 0
        for (let at = 0; at < text.length; at++) for (let to = 0; to < at; to++) count++
        return count
      }, "a"]
    ]
    for (const [read, bait] of readers) assert.isAbove(growthOf(read, bait), 3, `${read}`)
  })

  it("is the same again, but for what the engine does at first", () => {
    const read = () => void Challenge.parse(`Payment id="1", realm="${"a".repeat(500)}\\"`)
    const steps = stepsOf([read, read, read, read])
    for (const one of steps) assert.closeTo(one, steps[0]!, 5)
    assert.isAbove(steps[0]!, 500)
  })

  it("does not know patterns that go back in ways that it cannot follow", () => {
    assert.throws(() => stepsOf([() => /(?<=a)b/.test("ab")]), "a pattern that is not counted")
  })
})
