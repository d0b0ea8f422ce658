import { assert, describe, it } from "@effect/vitest"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { Session, SessionLegacy } from "mppx/tempo"
import type { Abi, Address, Hex } from "viem"
import { Abis, Actions, Channel as Reference } from "viem/tempo"
import { encodeEventTopics, encodeFunctionData, toEventSelector, toFunctionSelector } from "viem/utils"
import * as HexText from "../../../src/wire/Hex.ts"
import * as Channel from "../../../src/wire/mpp/Channel.ts"

const address = (digit: string): Address => `0x${digit.repeat(40)}`
const word = (value: bigint): Hex => `0x${value.toString(16).padStart(64, "0")}`
const zero = address("0")

const descriptor: Channel.Descriptor = {
  payer: address("1"),
  payee: address("2"),
  operator: address("3"),
  token: address("4"),
  salt: word(1n),
  authorizedSigner: address("5"),
  expiringNonceHash: `0x${"aa".repeat(32)}`
}

const v1 = {
  42431: "0xe1c4d3dce17bc111181ddf716f75bae49e61a336",
  4217: "0x33b901018174DDabE4841042ab76ba85D4e24f25"
} as const

const upper = (hex: Hex): Hex => `0x${hex.slice(2).toUpperCase()}`

const lower = (address: Address): Address => Schema.decodeSync(HexText.Address)(address)

/** Others look at checksums. */
const lowered = Schema.decodeSync(Channel.Descriptor)

const inUpperCase = (channel: Channel.Descriptor): Channel.Descriptor => ({
  payer: upper(channel.payer),
  payee: upper(channel.payee),
  operator: upper(channel.operator),
  token: upper(channel.token),
  salt: upper(channel.salt),
  authorizedSigner: upper(channel.authorizedSigner),
  expiringNonceHash: upper(channel.expiringNonceHash)
})

const ChainId = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 40 }))
const Amount = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: Channel.maxUnits }))

describe("Channel.id", () => {
  it.each<readonly [what: string, channel: Channel.Descriptor, chainId: number, id: Hex]>([
    [
      "on the test network",
      descriptor,
      42431,
      "0xba76934166855d51b0af261f57d3cd4bf48397c330f6e4b8804921b2ead973af"
    ],
    [
      "on the main network",
      descriptor,
      4217,
      "0xb1f2ecf45e99f0ab9e1c4b8e6c1cbac8c05b1cbf281f313c818e2346978b6eb6"
    ],
    [
      "without operator and signer",
      { ...descriptor, operator: zero, authorizedSigner: zero },
      42431,
      "0x82d590eb842e69a7e7ef3be11a285cca5e929b228bcd739c20f99ac35fd05b60"
    ]
  ])("is the one that the reserve computes: %s", (_, channel, chainId, id) => {
    assert.strictEqual(Channel.id(channel, { chainId, escrow: Channel.escrowV2 }), id)
    assert.strictEqual(Channel.id(inUpperCase(channel), { chainId, escrow: upper(Channel.escrowV2) }), id)
  })

  it.each<readonly [chainId: keyof typeof v1, id: Hex]>([
    [42431, "0x74762fc9f9484ecc04f963a56a058354c6ba9ffa388c8f5edcfd9b53c2cb8a89"],
    [4217, "0x91f6fc3b45ffeee0d579f0c06f664b7e631a443d5702eb62727e09ba8ba2fcae"]
  ])("is that of the contract in version 1, on chain %d", (chainId, id) => {
    const channel = { ...descriptor, authorizedSigner: zero }
    assert.strictEqual(Channel.idV1(channel, { chainId, escrow: v1[chainId] }), id)
    assert.strictEqual(Channel.idV1(inUpperCase(channel), { chainId, escrow: upper(v1[chainId]) }), id)
  })

  it.prop(
    "is the same for other implementations, whatever the case of the digits",
    [Channel.Descriptor, ChainId, HexText.Address],
    ([channel, chainId, escrow]) => {
      const place = { chainId, escrow: Channel.escrowV2 }
      assert.strictEqual(Channel.id(channel, place), Reference.computeId(lowered(channel), { chainId }))
      assert.strictEqual(Channel.id(channel, place), Channel.id(inUpperCase(channel), place))
      assert.strictEqual(
        Channel.id(channel, { chainId, escrow }),
        Session.Precompile.Channel.computeId({ ...lowered(channel), chainId, escrow: lower(escrow) })
      )
      assert.strictEqual(
        Channel.idV1(channel, { chainId, escrow }),
        SessionLegacy.Session.Channel.computeId({ ...lowered(channel), chainId, escrowContract: lower(escrow) })
      )
    }
  )

  it("depends on every part", () => {
    const place = { chainId: 42431, escrow: Channel.escrowV2 }
    const other = word(7n)
    const changes: ReadonlyArray<Partial<Channel.Descriptor>> = [
      { payer: address("6") },
      { payee: address("6") },
      { operator: address("6") },
      { token: address("6") },
      { salt: other },
      { authorizedSigner: address("6") },
      { expiringNonceHash: other }
    ]
    const ids = [
      Channel.id(descriptor, place),
      Channel.id(descriptor, { ...place, chainId: 4217 }),
      Channel.id(descriptor, { ...place, escrow: address("6") }),
      ...changes.map((change) => Channel.id({ ...descriptor, ...change }, place))
    ]
    assert.strictEqual(new Set(ids).size, 10)
  })
})

describe("Channel.signer", () => {
  it("is the payer where none is authorised", () => {
    assert.strictEqual(Channel.signer(descriptor), descriptor.authorizedSigner)
    assert.strictEqual(Channel.signer({ ...descriptor, authorizedSigner: zero }), descriptor.payer)
    assert.strictEqual(
      Session.Precompile.Channel.resolveAuthorizedSigner({ ...descriptor, authorizedSigner: zero }),
      descriptor.payer
    )
  })
})

describe("Channel.Descriptor", () => {
  const decode = Schema.decodeUnknownExit(Channel.Descriptor)

  it("reads digits in any case, and other members not at all", () => {
    const channel = { ...descriptor, payer: `0x${"aB".repeat(20)}`, salt: `0x${"Cd".repeat(32)}` }
    assert.deepStrictEqual(
      decode({ ...channel, later: 1 }),
      Exit.succeed({ ...descriptor, payer: `0x${"ab".repeat(20)}`, salt: `0x${"cd".repeat(32)}` })
    )
  })

  it("refuses a descriptor with a part missing or of the wrong size", () => {
    for (const name of Object.keys(descriptor)) {
      for (const value of [undefined, null, 1, "", "0x", "0x12", `0x${"12".repeat(33)}`, `${"12".repeat(20)}`]) {
        assert.isTrue(Exit.isFailure(decode({ ...descriptor, [name]: value })), `${name} ${value}`)
      }
    }
  })
})

describe("Channel.Units", () => {
  it("are what a channel can hold", () => {
    const decode = Schema.decodeUnknownExit(Channel.Units)
    assert.deepStrictEqual(decode(Channel.maxUnits.toString()), Exit.succeed(Channel.maxUnits))
    for (const bad of [(Channel.maxUnits + 1n).toString(), "-1", "1.5", "0x1", "", "01", "9".repeat(1000), 1]) {
      assert.isTrue(Exit.isFailure(decode(bad)), String(bad))
    }
  })
})

const encoded = (call: { readonly abi: Abi; readonly functionName: string; readonly args: ReadonlyArray<unknown> }) =>
  encodeFunctionData(call)

describe("the calls of a payer", () => {
  it.prop(
    "are those of other implementations, whatever the case of the digits",
    [Channel.Descriptor, Amount],
    ([channel, units]) => {
      for (const given of [channel, inUpperCase(channel)]) {
        assert.deepStrictEqual(
          [
            Channel.openCall({ ...given, deposit: units }),
            Channel.topUpCall(given, units),
            Channel.requestCloseCall(given),
            Channel.withdrawCall(given)
          ],
          [
            encoded(Actions.channel.open.call({ ...lowered(channel), deposit: units })),
            encoded(Actions.channel.topUp.call({ channel: lowered(channel), additionalDeposit: units })),
            encoded(Actions.channel.requestClose.call({ channel: lowered(channel) })),
            encoded(Actions.channel.withdraw.call({ channel: lowered(channel) }))
          ].map((data) => ({ to: Channel.escrowV2, data }))
        )
      }
    }
  )

  it("opens by the selector that servers look for", () => {
    assert.strictEqual(Channel.openCall({ ...descriptor, deposit: 1n }).data.slice(0, 10), "0xedc53b00")
  })

  it("move no amount that a channel cannot hold", () => {
    for (const units of [-1n, Channel.maxUnits + 1n, 2n ** 256n]) {
      assert.throws(() => Channel.openCall({ ...descriptor, deposit: units }))
      assert.throws(() => Channel.topUpCall(descriptor, units))
    }
  })
})

describe("Channel.abi", () => {
  const signatures = (abi: Abi) =>
    new Set(abi.flatMap((item) =>
      item.type === "function"
        ? [
          `${toFunctionSelector(item)} ${item.stateMutability} ${JSON.stringify(item.outputs.map(({ type }) => type))}`
        ]
        : item.type === "event"
        ? [`${toEventSelector(item)} ${item.inputs.map(({ indexed, name }) => `${name} ${indexed === true}`)}`]
        : []
    ))

  it.each<readonly [what: string, abi: Abi]>([
    ["viem", Abis.tip20ChannelReserve],
    ["mppx", Session.Precompile.escrowAbi]
  ])("is part of what %s knows of the reserve", (_, theirs) => {
    const known = signatures(theirs)
    assert.deepStrictEqual([...signatures(Channel.abi)].filter((signature) => !known.has(signature)), [])
  })

  it("finds the channels of a payer", () => {
    assert.deepStrictEqual(
      encodeEventTopics({ abi: Channel.abi, eventName: "ChannelOpened", args: { payer: descriptor.payer } }),
      encodeEventTopics({
        abi: Abis.tip20ChannelReserve,
        eventName: "ChannelOpened",
        args: { payer: descriptor.payer }
      })
    )
  })
})
