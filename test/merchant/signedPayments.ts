import { Effect, Redacted } from "effect"
import { HttpServer } from "effect/http"
import type { Hex } from "viem"
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts"
import { type Account, EvmChain } from "../../src/testing/chain/Evm.ts"
import * as ExactEvm from "../../src/wire/x402/ExactEvm.ts"

const types = {
  TransferWithAuthorization: [
    { name: "from", type: "address" },
    { name: "to", type: "address" },
    { name: "value", type: "uint256" },
    { name: "validAfter", type: "uint256" },
    { name: "validBefore", type: "uint256" },
    { name: "nonce", type: "bytes32" }
  ]
} as const

/** The `payload` of a payment in the chain's token, signed by hand. */
export const sign = Effect.fnUntraced(function*(
  payer: Account,
  terms: { readonly payTo: string; readonly units: bigint },
  differing: Partial<ExactEvm.Authorization> & {
    readonly domain?: { readonly name: string; readonly version: string }
  } = {}
) {
  const chain = yield* EvmChain
  const { domain = chain.asset.domain!, ...members } = differing
  const authorization = {
    from: payer.address,
    to: terms.payTo as Hex,
    value: terms.units,
    validAfter: 0n,
    validBefore: (yield* chain.now) + 60n,
    // any 32 random bytes
    nonce: generatePrivateKey(),
    ...members
  }
  const signature = yield* Effect.promise(() =>
    privateKeyToAccount(Redacted.value(payer.privateKey)).signTypedData({
      domain: { ...domain, chainId: chain.chainId, verifyingContract: chain.asset.address as Hex },
      types,
      primaryType: "TransferWithAuthorization",
      message: authorization
    })
  )
  return ExactEvm.encode({ signature, authorization })
})

export const nonceOf = (payload: ReturnType<typeof ExactEvm.encode>): Hex =>
  (payload as typeof ExactEvm.Payload.Encoded).authorization.nonce as Hex

/** Where the server of the test listens. */
export const localUrl = Effect.map(
  HttpServer.HttpServer,
  ({ address }) => `http://127.0.0.1:${"port" in address ? address.port : 0}`
)
