import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as AcceptPayment from "../../../src/wire/mpp/AcceptPayment.ts"

const range = (method: string, intent: string, quality = 1): AcceptPayment.Range => ({ method, intent, quality })

const ranges = (header: string) => Option.getOrThrow(AcceptPayment.parse(header))

describe("AcceptPayment.parse", () => {
  it.each<readonly [header: string, expected: ReadonlyArray<AcceptPayment.Range>]>([
    ["tempo/charge", [range("tempo", "charge")]],
    ["*/*", [range("*", "*")]],
    [
      "tempo/*, stripe/charge;q=0.5, */session;q=0",
      [range("tempo", "*"), range("stripe", "charge", 0.5), range("*", "session", 0)]
    ],
    ["tempo/charge ; q=0.125 ,\tevm/charge;Q=1.000", [range("tempo", "charge", 0.125), range("evm", "charge")]],
    [",, tempo/charge,, ", [range("tempo", "charge")]],
    ["a-b:c_2/X-y;q=0.", [range("a-b:c_2", "X-y", 0)]]
  ])("reads %s", (header, expected) => {
    assert.deepStrictEqual(ranges(header), expected)
  })

  it.each([
    "",
    " , ,",
    "tempo",
    "tempo/",
    "/charge",
    "Tempo/charge",
    "tempo/charge/more",
    "tempo charge",
    "**/charge",
    "tempo/charge;q",
    "tempo/charge;q=",
    "tempo/charge;q=2",
    "tempo/charge;q=-1",
    "tempo/charge;q=1.001",
    "tempo/charge;q=0.1234",
    "tempo/charge;q=.5",
    "tempo/charge;q=1e-1",
    "tempo/charge;v=1",
    "tempo/charge;q=1;q=0",
    "tempo/charge, ?",
    "tempo/charge\ntempo/session",
    "tempo/charge,".repeat(AcceptPayment.maxRanges + 1),
    `tempo/charge${" ".repeat(AcceptPayment.maxLength)}`
  ])("takes %j for none", (header) => {
    assert.isTrue(Option.isNone(AcceptPayment.parse(header)))
  })

  it.prop("never throws", [Schema.String], ([text]) => {
    AcceptPayment.parse(text)
    AcceptPayment.parse(`tempo/charge;q=${text}`)
  })
})

describe("AcceptPayment.format", () => {
  it("leaves out a quality of one, and rounds to thousandths", () => {
    assert.strictEqual(
      AcceptPayment.format([
        range("tempo", "charge"),
        range("tempo", "session", 0),
        range("stripe", "charge", 0.5),
        range("evm", "*", 1 / 3),
        range("*", "*", 1e-7),
        range("a", "b", 7)
      ]),
      "tempo/charge, tempo/session;q=0, stripe/charge;q=0.5, evm/*;q=0.333, */*;q=0, a/b"
    )
  })

  const Range = Schema.Struct({
    method: Schema.Literals(["*", "tempo", "evm", "x-y"]),
    intent: Schema.Literals(["*", "charge", "session"]),
    quality: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 }))
  })

  it.prop("is undone by parse", [Schema.NonEmptyArray(Range)], ([written]) => {
    const thousandths = written.slice(0, AcceptPayment.maxRanges)
      .map((each) => ({ ...each, quality: each.quality / 1000 }))
    assert.deepStrictEqual(AcceptPayment.parse(AcceptPayment.format(thousandths)), Option.some(thousandths))
  })
})

describe("AcceptPayment.quality", () => {
  it.each<readonly [header: string, offer: readonly [string, string], quality: number]>([
    ["tempo/charge", ["tempo", "charge"], 1],
    ["tempo/charge", ["tempo", "session"], 0],
    ["tempo/charge", ["evm", "charge"], 0],
    ["tempo/*;q=1, tempo/charge;q=0", ["tempo", "charge"], 0],
    ["tempo/*;q=1, tempo/charge;q=0", ["tempo", "session"], 1],
    ["tempo/charge;q=0, tempo/*;q=1", ["tempo", "charge"], 0],
    ["tempo/*;q=0.5, tempo/session;q=0.6, */*;q=0.1", ["tempo", "session"], 0.6],
    ["tempo/*;q=0.5, */*;q=0.1", ["tempo", "charge"], 0.5],
    ["tempo/*;q=0.5, */*;q=0.1", ["evm", "charge"], 0.1],
    ["tempo/*;q=0.2, */charge;q=0.7", ["tempo", "charge"], 0.7],
    ["tempo/charge;q=0.2, tempo/charge;q=0.7", ["tempo", "charge"], 0.7]
  ])("of %s for %s is %s", (header, [method, intent], quality) => {
    assert.strictEqual(AcceptPayment.quality(ranges(header), method, intent), quality)
  })

  it("is nothing without ranges", () => {
    assert.strictEqual(AcceptPayment.quality([], "tempo", "charge"), 0)
  })
})
