import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type Hex, hexToBigInt } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { Transaction } from "viem/tempo"
import { fromRlp, keccak256, toRlp } from "viem/utils"
import * as TempoCharge from "../../../src/wire/mpp/TempoCharge.ts"
import * as TempoTransaction from "../../../src/wire/mpp/TempoTransaction.ts"

const account = privateKeyToAccount("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
const sponsor = privateKeyToAccount(`0x${"02".repeat(32)}`)
const payer: Hex = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
const pathUsd: Hex = "0x20c0000000000000000000000000000000000000"
const recipient = "0x742d35cc6634c0532925a3b844bc9e7595f8fe00"
const memo = TempoCharge.attribution({ realm: "api.example.com", challengeId: "challenge-123" })

const calldata: Hex =
  "0x95777d59000000000000000000000000742d35cc6634c0532925a3b844bc9e7595f8fe0000000000000000000000000000000000000000000000000000000000000f4240ef1ed712011ece072f76bd8b82350e00000000000000000000eb18f2d4402269"

const selfPaid: Hex =
  "0x76f9011582a5bf843b9aca008504a817c800830493e0f87ef87c9420c000000000000000000000000000000000000080b86495777d59000000000000000000000000742d35cc6634c0532925a3b844bc9e7595f8fe0000000000000000000000000000000000000000000000000000000000000f4240ef1ed712011ece072f76bd8b82350e00000000000000000000eb18f2d4402269c0a0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff8084695cf620809420c000000000000000000000000000000000000080c0b841d16147ab6f40dca0b35f39d9f78273923bac5c57a351d4452c0743d0a1535198527c2fc0c70492c4163b9db8f585421b5dfa081ad2afd27153759b7039b24dae1b"

const sponsoredTail =
  "c0b841e31b990c944b3360d79f66f331e467cd91456365e2bd1a4b2b123c00fb34b9075554d7a18cd74be315f95f4eded3f26cf204c47bdc71da0814635f5f3484bc7f1c"

const unsigned: TempoTransaction.Unsigned = {
  chainId: 42431,
  from: payer,
  calls: TempoTransaction.calls(pathUsd, [{ to: recipient, units: 1_000_000n, memo }]),
  gas: "300000",
  maxFeePerGas: "20000000000",
  maxPriorityFeePerGas: "1000000000",
  validBefore: 1_767_700_000,
  feeToken: pathUsd,
  sponsored: false
}

const sponsored: TempoTransaction.Unsigned = { ...unsigned, sponsored: true }

const sign = (transaction: TempoTransaction.Unsigned): Promise<Hex> =>
  account.signTransaction(TempoTransaction.serializable(transaction), { serializer: Transaction.serialize })

const decode = (signed: string) => Option.getOrUndefined(TempoTransaction.decode(signed))

type Item = Hex | ReadonlyArray<Item>

/** Another envelope of the same members, but for some. */
const withItems = (signed: Hex, changes: Readonly<Record<number, Item>>, type = signed.slice(2, 4)): Hex => {
  const items: Item = fromRlp(`0x${signed.slice(4)}`, "hex")
  return typeof items === "string"
    ? items
    : `0x${type}${toRlp(items.map((item, at) => changes[at] ?? item)).slice(2)}`
}

describe("TempoTransaction.calls", () => {
  it("transfers with the memo where there is one", () => {
    assert.deepStrictEqual(
      TempoTransaction.calls(pathUsd, [
        { to: recipient, units: 1_000_000n, memo },
        { to: payer, units: 2n ** 256n - 1n }
      ]),
      [
        { to: pathUsd, data: calldata },
        { to: pathUsd, data: `0xa9059cbb${"0".repeat(24)}${payer.slice(2)}${"f".repeat(64)}` }
      ]
    )
  })
})

describe("TempoTransaction.serializable", () => {
  it("is signed to the bytes that are known for it where the payer pays the fee", async () => {
    assert.strictEqual(await sign(unsigned), selfPaid)
  })

  it("is signed to the bytes that are known for it where the merchant pays the fee", async () => {
    const signed = await sign(sponsored)
    assert.isTrue(signed.startsWith("0x78f90115"))
    assert.isTrue(signed.endsWith(sponsoredTail))
    assert.include(signed, payer.slice(2))
  })

  it("names no fee token where the merchant pays the fee", () => {
    assert.notProperty(TempoTransaction.serializable(sponsored), "feeToken")
  })

  it.prop("is the same after it was stored", [TempoTransaction.Unsigned], ([written]) => {
    const stored = JSON.stringify(Schema.encodeSync(TempoTransaction.Unsigned)(written))
    const again = Schema.decodeUnknownSync(TempoTransaction.Unsigned)(JSON.parse(stored))
    assert.strictEqual(JSON.stringify(again).toLowerCase(), stored.toLowerCase())
    assert.deepInclude(TempoTransaction.serializable(again), { gas: BigInt(written.gas), nonce: 0 })
  })
})

describe("TempoTransaction.maxFeeUsd", () => {
  it.each<readonly [gas: string, maxFeePerGas: string, usd: bigint]>([
    ["300000", "20000000000", 6_000n],
    ["1", "1", 1n],
    ["1", "1000000000000", 1n],
    ["1", "1000000000001", 2n],
    ["0", "20000000000", 0n]
  ])("of %s gas at %s is %s, rounded up", (gas, maxFeePerGas, usd) => {
    assert.strictEqual(TempoTransaction.maxFeeUsd({ ...unsigned, gas, maxFeePerGas }), usd)
  })

  it("is nothing where the merchant pays it", () => {
    assert.strictEqual(TempoTransaction.maxFeeUsd(sponsored), 0n)
  })
})

describe("TempoTransaction.hash", () => {
  it("is the digest of the signed bytes", () => {
    assert.strictEqual(TempoTransaction.hash(selfPaid), keccak256(selfPaid))
  })
})

describe("TempoTransaction.decode", () => {
  const common = {
    chainId: 42431,
    from: payer,
    signatureType: "secp256k1",
    calls: [{ to: pathUsd, value: 0n, data: calldata }],
    gas: 300_000n,
    maxFeePerGas: 20_000_000_000n,
    maxPriorityFeePerGas: 1_000_000_000n,
    nonceKey: 2n ** 256n - 1n,
    nonce: 0n,
    validBefore: 1_767_700_000,
    validAfter: undefined,
    keyAuthorization: false,
    authorizationList: false,
    accessList: false
  }

  it("reads what the payer signed and pays the fee of", () => {
    const expected = { ...common, feeToken: pathUsd, sponsored: false, feePayerSigned: false }
    assert.deepInclude(decode(selfPaid), expected)
    assert.deepInclude(decode(`0x${selfPaid.slice(2).toUpperCase()}`), expected)
  })

  it("reads both forms of what awaits a fee payer, and no fee token that the payer did not sign for", async () => {
    const expected = { ...common, feeToken: undefined, sponsored: true, feePayerSigned: false }
    const signed = await sign(sponsored)
    for (
      const form of [
        signed,
        withItems(signed, { 11: "0x00" }, "76"),
        withItems(signed, { 10: pathUsd }),
        withItems(signed, { 10: pathUsd, 11: "0x00" }, "76")
      ]
    ) {
      const { serializable, ...decoded } = decode(form)!
      assert.deepStrictEqual(decoded, expected)
      assert.isNull(serializable.feePayerSignature)
      assert.isUndefined(serializable.feeToken)
    }
  })

  it("reads what a fee payer has signed too", async () => {
    const { serializable } = decode(await sign(sponsored))!
    const complete = await Transaction.serialize({ ...serializable, feeToken: pathUsd, feePayer: sponsor })
    assert.deepInclude(decode(complete), { ...common, feeToken: pathUsd, sponsored: false, feePayerSigned: true })
  })

  it("takes nothing cut off, and nothing with more behind it", () => {
    for (let length = 0; length < selfPaid.length; length++) assert.isUndefined(decode(selfPaid.slice(0, length)))
    assert.isUndefined(decode(`${selfPaid}00`))
    assert.isUndefined(decode(`${selfPaid}0`))
    assert.isUndefined(decode(` ${selfPaid}`))
  })

  it("finds another sender, or none, wherever one byte is changed", () => {
    for (let at = 4; at < selfPaid.length - 2; at += 2) {
      const byte = (Number.parseInt(selfPaid.slice(at, at + 2), 16) ^ 1).toString(16).padStart(2, "0")
      const decoded = decode(selfPaid.slice(0, at) + byte + selfPaid.slice(at + 2))
      assert.notStrictEqual(decoded?.from, payer, `${at}`)
    }
  })

  const signedBySponsor = ["0x1b", `0x${"01".repeat(32)}`, `0x${"02".repeat(32)}`] as const

  it.each<readonly [what: string, signed: (sponsored: Hex) => string]>([
    ["nothing", () => ""],
    ["another type", () => `0x02${selfPaid.slice(4)}`],
    ["text", () => "0x76zz"],
    ["bytes that are no list", () => "0x7680"],
    ["an empty list", () => "0x76c0"],
    ["a list without end", () => "0x76ff"],
    ["lists in lists", () => `0x76${"c1".repeat(10_000)}c0`],
    ["an empty call list", () => withItems(selfPaid, { 4: [] })],
    ["a call list that is none", () => withItems(selfPaid, { 4: "0x01" })],
    ["a call of two members", () => withItems(selfPaid, { 4: [[pathUsd, "0x"]] })],
    ["a call to half an address", () => withItems(selfPaid, { 4: [["0x20c0", "0x", calldata]] })],
    ["no chain", () => withItems(selfPaid, { 0: "0x" })],
    ["a chain beyond what is counted", () => withItems(selfPaid, { 0: "0xffffffffffffffff" })],
    ["a number with a leading zero", () => withItems(selfPaid, { 3: "0x000493e0" })],
    ["a number beyond 32 bytes", () => withItems(selfPaid, { 3: `0x01${"00".repeat(32)}` })],
    ["a number that is a list", () => withItems(selfPaid, { 3: ["0x01"] })],
    ["half a fee token", () => withItems(selfPaid, { 10: "0x20c0" })],
    ["an access list that is none", () => withItems(selfPaid, { 5: "0x01" })],
    ["no signature", () => withItems(selfPaid, { 13: "0x" })],
    ["a signature of nothing", () => withItems(selfPaid, { 13: `0x${"00".repeat(65)}` })],
    ["a signature of odd length", () => withItems(selfPaid, { 13: `0x${"01".repeat(64)}` })],
    ["a list for a signature", () => withItems(selfPaid, { 13: ["0x01"] })],
    ["a sender in the usual form", () => withItems(selfPaid, { 11: payer })],
    ["a fee payer that is a number", () => withItems(selfPaid, { 11: "0x01" })],
    [
      "a fee payer's signature in the form that awaits it",
      (sponsored) => withItems(sponsored, { 11: signedBySponsor })
    ],
    ["no sender in the form that names it", (sponsored) => withItems(sponsored, { 11: "0x00" })],
    ["a sender who did not sign", (sponsored) => withItems(sponsored, { 11: recipient })],
    ["more than 16 KiB", () => withItems(selfPaid, { 5: `0x${"00".repeat(16 * 1024)}` })]
  ])("takes %s for no transaction", async (_, make) => {
    assert.isUndefined(decode(make(await sign(sponsored))))
  })

  it("takes no form but the shortest", () => {
    const long = `0x76fa00${selfPaid.slice(6)}`
    assert.isUndefined(decode(long))
    assert.isUndefined(decode(selfPaid.replace("80c0b841", "8100c0b841")))
  })

  it("reads a nonce beyond what viem counts exactly, unless it would have to be written again", async () => {
    const nonce = "0xffffffffffffffff"
    assert.strictEqual(decode(withItems(selfPaid, { 7: nonce }))?.nonce, 2n ** 64n - 1n)
    assert.isUndefined(decode(withItems(await sign(sponsored), { 7: nonce, 11: "0x00" }, "76")))
  })

  it("says what no plain payment has", async () => {
    const warmed = await account.signTransaction(
      { ...TempoTransaction.serializable(unsigned), accessList: [{ address: pathUsd, storageKeys: [] }] },
      { serializer: Transaction.serialize }
    )
    assert.deepInclude(decode(warmed), { from: payer, accessList: true })
  })

  const Amount = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 1n, maximum: 2n ** 256n - 1n }))

  const Instant = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 40 }))

  it.effect.prop(
    "reads what was signed",
    [Amount, Schema.Boolean, Instant],
    ([units, pays, validBefore]) =>
      Effect.gen(function*() {
        const transaction: TempoTransaction.Unsigned = {
          ...unsigned,
          calls: TempoTransaction.calls(pathUsd, [{ to: recipient, units, memo }, { to: payer, units }]),
          validBefore,
          sponsored: pays
        }
        const signed = yield* Effect.promise(() => sign(transaction))
        const decoded = Option.getOrThrow(TempoTransaction.decode(signed))
        assert.deepInclude(decoded, { from: payer, validBefore, sponsored: pays, nonce: 0n })
        assert.deepStrictEqual(decoded.calls.map(({ data, to }) => ({ data, to })), [...transaction.calls])
        assert.strictEqual(hexToBigInt(`0x${decoded.calls[1]!.data.slice(-64)}`), units)
      }),
    { arbitrary: { runs: 20 } }
  )

  it.prop("never throws", [Schema.String, Schema.Uint8Array], ([text, bytes]) => {
    decode(text)
    decode(`0x76${text}`)
    decode(`0x76${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`)
  })
})
