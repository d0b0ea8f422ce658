import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import type { Address, Hex } from "viem"
import { encodeAbiParameters, encodeEventTopics, parseAbi } from "viem/utils"
import type * as Chain from "../../../src/Chain.ts"
import * as TempoTransfers from "../../../src/merchant/tempoCharges/Transfers.ts"
import * as TempoCharge from "../../../src/wire/mpp/TempoCharge.ts"
import * as TempoTransaction from "../../../src/wire/mpp/TempoTransaction.ts"

const token: Address = "0x20c0000000000000000000000000000000000000"
const payer: Address = "0x00000000000000000000000000000000000000aa"
const payee: Address = "0x00000000000000000000000000000000000000bb"
const affiliate: Address = "0x00000000000000000000000000000000000000cc"
const challenge = { id: "challenge-123", realm: "api.example.com" }
const bound = TempoCharge.attribution({ realm: challenge.realm, challengeId: challenge.id })
const named = TempoCharge.attribution({ realm: challenge.realm, challengeId: challenge.id, clientId: "my-app" })
const order: Hex = `0x${"0a".repeat(32)}`

const requestOf = (splits: NonNullable<TempoCharge.Request["methodDetails"]>["splits"] = undefined) => ({
  amount: 100n,
  currency: token,
  recipient: payee,
  methodDetails: { chainId: 1337, ...(splits === undefined ? {} : { splits }) }
})

const plain = TempoTransfers.wanted(requestOf(), challenge)
const split = TempoTransfers.wanted(requestOf([{ amount: 40n, recipient: affiliate }]), challenge)
const memoSplit = TempoTransfers.wanted(requestOf([{ amount: 50n, recipient: payee, memo: order }]), challenge)
const evenSplit = TempoTransfers.wanted(requestOf([{ amount: 50n, recipient: payee }]), challenge)

const moved = (to: Address, units: bigint, memo?: Hex, from = payer): TempoTransfers.Moved => ({
  from,
  to,
  units,
  ...(memo === undefined ? {} : { memo })
})

describe("transfers that were asked for", () => {
  const cases: ReadonlyArray<
    readonly [
      what: string,
      wanted: TempoTransfers.Wanted,
      moved: ReadonlyArray<TempoTransfers.Moved>,
      covers: boolean
    ]
  > = [
    ["are those of an anonymous client", plain, [moved(payee, 100n, bound)], true],
    ["are those of a client with a name", plain, [moved(payee, 100n, named)], true],
    ["may be among others", plain, [moved(affiliate, 1n), moved(payee, 100n, bound), moved(payee, 1n)], true],
    ["are not without a memo", plain, [moved(payee, 100n)], false],
    ["are not with a memo of somebody's own", plain, [moved(payee, 100n, order)], false],
    ["are not with the memo on another transfer", plain, [moved(payee, 100n), moved(payee, 1n, bound)], false],
    ["are not those to somebody else", plain, [moved(affiliate, 100n, bound)], false],
    ["are not those of less", plain, [moved(payee, 99n, bound)], false],
    ["are not those of more", plain, [moved(payee, 101n, bound)], false],
    ["are not those of somebody else", plain, [moved(payee, 100n, bound, affiliate)], false],
    [
      "are not those in parts",
      plain,
      [moved(payee, 60n, bound), moved(payee, 40n, bound)],
      false
    ],
    [
      "are not those for another challenge",
      plain,
      [moved(payee, 100n, TempoCharge.attribution({ realm: challenge.realm, challengeId: "challenge-124" }))],
      false
    ],
    [
      "are not those for another realm",
      plain,
      [moved(payee, 100n, TempoCharge.attribution({ realm: "evil.example.com", challengeId: challenge.id }))],
      false
    ],
    ["are split, in whatever order", split, [moved(affiliate, 40n), moved(payee, 60n, bound)], true],
    ["are split, with a memo for whom none was asked for", split, [
      moved(payee, 60n, bound),
      moved(affiliate, 40n, order)
    ], true],
    ["are not whole where they are to be split", split, [moved(payee, 100n, bound)], false],
    ["are not split without all parts", split, [moved(payee, 60n, bound)], false],
    ["have the memo of a split", memoSplit, [moved(payee, 50n, order), moved(payee, 50n, bound)], true],
    ["do not lack the memo of a split", memoSplit, [moved(payee, 50n), moved(payee, 50n, bound)], false],
    ["are two where two are alike", evenSplit, [moved(payee, 50n, bound)], false],
    ["may both be bound", evenSplit, [moved(payee, 50n, bound), moved(payee, 50n, bound)], true],
    ["are bound in the first place", evenSplit, [moved(payee, 50n), moved(payee, 50n)], false],
    ["are none", plain, [], false]
  ]
  for (const [what, wanted, transfers, covers] of cases) {
    it(`${what}`, () => {
      assert.strictEqual(TempoTransfers.cover(wanted, transfers, payer), covers)
    })
  }
})

describe("a call", () => {
  const [call, callWithMemo] = TempoTransaction.calls(token, [
    { to: payee, units: 100n },
    { to: payee, units: 100n, memo: bound }
  ])
  const read = (change: Partial<{ to: Address; value: bigint; data: Hex }>) =>
    TempoTransfers.fromCall(token, payer, { to: token, value: 0n, data: call!.data, ...change })

  it("of the token is a transfer, with a memo or without", () => {
    assert.deepStrictEqual(read({}), Option.some(moved(payee, 100n)))
    assert.deepStrictEqual(read({ data: callWithMemo!.data }), Option.some(moved(payee, 100n, bound)))
    assert.deepStrictEqual(
      read({ data: `0x${call!.data.slice(2).toUpperCase()}`, to: `0x${token.slice(2).toUpperCase()}` }),
      Option.some(moved(payee, 100n))
    )
  })

  const others: ReadonlyArray<readonly [what: string, change: Parameters<typeof read>[0]]> = [
    ["of another contract", { to: affiliate }],
    ["that carries value", { value: 1n }],
    ["of another function", { data: `0x095ea7b3${call!.data.slice(10)}` }],
    ["with something behind it", { data: `${call!.data}00` }],
    ["with a word too much", { data: `${call!.data}${"0".repeat(64)}` }],
    ["with a word too few", { data: `0x95777d59${call!.data.slice(10)}` }],
    ["to more than an address", { data: `${call!.data.slice(0, 10)}01${call!.data.slice(12)}` as Hex }],
    ["of nothing", { data: "0x" }]
  ]
  for (const [what, change] of others) {
    it(`${what} is none`, () => {
      assert.deepStrictEqual(read(change), Option.none())
    })
  }
})

describe("the logs of a receipt", () => {
  const abi = parseAbi([
    "event Transfer(address indexed from, address indexed to, uint256 amount)",
    "event TransferWithMemo(address indexed from, address indexed to, uint256 amount, bytes32 indexed memo)"
  ])
  const log = (units: bigint, memo?: Hex, address: string = token): Chain.Log => ({
    transactionHash: order,
    blockNumber: 1n,
    address,
    topics: (memo === undefined
      ? encodeEventTopics({ abi, eventName: "Transfer", args: { from: payer, to: payee } })
      : encodeEventTopics({ abi, eventName: "TransferWithMemo", args: { from: payer, to: payee, memo } })) as Array<
        Hex
      >,
    data: encodeAbiParameters([{ type: "uint256" }], [units])
  })

  it("show a transfer with a memo once, though it has two of them", () => {
    assert.deepStrictEqual(TempoTransfers.fromLogs(token, [log(100n), log(100n, bound)]), [moved(payee, 100n, bound)])
    assert.deepStrictEqual(TempoTransfers.fromLogs(token, [log(50n), log(100n), log(100n, bound), log(100n)]), [
      moved(payee, 100n, bound),
      moved(payee, 50n),
      moved(payee, 100n)
    ])
  })

  it("show no transfer twice, so that one does not pay two recipients who are the same", () => {
    const found = TempoTransfers.fromLogs(token, [log(50n), log(50n, bound)])
    assert.isFalse(TempoTransfers.cover(evenSplit, found, payer))
  })

  it("of another token, or of another form, show nothing", () => {
    const whole = log(100n, bound)
    assert.deepStrictEqual(
      TempoTransfers.fromLogs(token, [
        log(100n, bound, affiliate),
        { ...whole, topics: whole.topics.slice(0, 3) },
        { ...whole, topics: [...whole.topics, order] },
        { ...whole, topics: [] },
        { ...whole, data: "0x" },
        { ...whole, data: `${whole.data}00` },
        { ...whole, topics: whole.topics.with(2, order) }
      ]),
      []
    )
  })
})
