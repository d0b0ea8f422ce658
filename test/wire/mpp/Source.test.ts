import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Hex from "../../../src/wire/Hex.ts"
import * as Source from "../../../src/wire/mpp/Source.ts"

const address = "0x1a642f0e3c3af545e7acbd38b07251b3990914f1"

describe("Source", () => {
  it("reads an account on a chain, whatever the case of its address", () => {
    for (const written of [address, "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1"]) {
      assert.deepStrictEqual(
        Source.parse(`did:pkh:eip155:42431:${written}`),
        Option.some({ chainId: 42431, address })
      )
    }
  })

  it.each([
    "",
    address,
    `did:pkh:eip155:${address}`,
    `did:pkh:eip155:0:${address}`,
    `did:pkh:eip155:01:${address}`,
    `did:pkh:eip155:-1:${address}`,
    `did:pkh:eip155:1.5:${address}`,
    `did:pkh:eip155:9007199254740993:${address}`,
    `did:pkh:eip155:${"9".repeat(100_000)}:${address}`,
    `did:pkh:eip155:1:${address}0`,
    `did:pkh:eip155:1:${address}:1`,
    `did:pkh:eip155:1:${address}\n`,
    "did:pkh:eip155:1:0x1234567890abcdef",
    `did:pkh:solana:1:${address}`,
    `did:web:example.com`,
    `DID:PKH:EIP155:1:${address}`
  ])("takes %s for none", (text) => {
    assert.isTrue(Option.isNone(Source.parse(text)))
  })

  const ChainId = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }))

  it.prop("reads what it writes", [ChainId, Hex.Address], ([chainId, account]) => {
    assert.deepStrictEqual(
      Source.parse(Source.format(chainId, account)),
      Option.some({ chainId, address: account.toLowerCase() })
    )
  })
})
