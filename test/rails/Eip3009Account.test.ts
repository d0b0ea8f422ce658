import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Hex, pad, toHex } from "viem"
import { toEventSelector } from "viem/utils"
import * as Asset from "../../src/Asset.ts"
import type * as Chain from "../../src/Chain.ts"
import * as Eip3009Account from "../../src/rails/Eip3009Account.ts"
import { nodeWith } from "./node.ts"

const network = "eip155:8453"
const token: Hex = "0x00000000000000000000000000000000000000aa"
const payer: Hex = "0x00000000000000000000000000000000000000bb"
const payee = (digit: string): Hex => `0x${digit.repeat(40)}`
const asset = new Asset.Asset({ network, address: token, symbol: "USDC", decimals: 6, usd: true, testnet: false })

const log = (name: string, topics: ReadonlyArray<Hex>, data: Hex = "0x"): Chain.Log => ({
  transactionHash: `0x${"AB".repeat(32)}`,
  blockNumber: 7n,
  address: token,
  topics: [toEventSelector(name), ...topics],
  data
})
const word = (value: Hex) => pad(value, { size: 32 })
const used = (nonce: Hex, from: Hex = payer) => log("AuthorizationUsed(address,bytes32)", [word(from), word(nonce)])
const transfer = (units: number, to: Hex, from: Hex = payer) =>
  log("Transfer(address,address,uint256)", [word(from), word(to)], toHex(units, { size: 32 }))

const moved = Effect.fnUntraced(function*(receipt: ReadonlyArray<Chain.Log>) {
  const node = nodeWith({
    network,
    block: () => Effect.succeed({ number: 9n, timestamp: 5n }),
    logs: () => Effect.succeed(receipt.filter(({ topics }) => topics[0] === used("0x1").topics[0])),
    receiptLogs: () => Effect.succeed(receipt)
  })
  const { movements } = yield* Eip3009Account.make([node], asset, token, payer).moved(1n)
  return yield* Effect.forEach(
    movements,
    ({ details, marks, reference }) =>
      Effect.map(details, ({ at, payee, units }) => ({ marks, reference, at, payee, units }))
  )
})

const name = (nonce: Hex) => `${network}/${token}/${payer}/${word(nonce)}`

describe("Eip3009Account", () => {
  it.effect("tells what each authorisation of a transaction has moved, and nothing of other payers", () =>
    Effect.gen(function*() {
      const other = payee("c")
      assert.deepStrictEqual(
        yield* moved([
          used("0x1"),
          transfer(10, payee("d")),
          used("0x9", other),
          transfer(99, payee("d"), other),
          used("0x2"),
          transfer(20, payee("e"))
        ]),
        [
          {
            marks: [name("0x1")],
            reference: `${name("0x1")}/0x${"ab".repeat(32)}`,
            at: 5_000,
            payee: payee("d"),
            units: 10n
          },
          {
            marks: [name("0x2")],
            reference: `${name("0x2")}/0x${"ab".repeat(32)}`,
            at: 5_000,
            payee: payee("e"),
            units: 20n
          }
        ]
      )
    }))

  it.effect("counts all that a transaction took where it is not plain what belongs to what", () =>
    Effect.gen(function*() {
      const [one] = yield* moved([used("0x1"), transfer(10, payee("d")), transfer(20, payee("e"))])
      assert.deepInclude(one, { units: 30n, payee: payee("d") })
    }))

  it.effect("counts nothing where no transfer is to be seen, or one without a figure", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* moved([used("0x1")]))[0]?.units, 0n)
      const odd = { ...transfer(10, payee("d")), data: "0x" as const }
      assert.strictEqual((yield* moved([used("0x1"), odd]))[0]?.units, 0n)
    }))

  it("names an authorisation alike, whatever the case of its letters", () => {
    const mark = { network, token: token.toUpperCase(), payer: payer.toUpperCase(), nonce: word("0xab").toUpperCase() }
    assert.strictEqual(Eip3009Account.mark(mark), name("0xab"))
  })
})
