/** Shops behind the official server of the Payment scheme. */
import { getRequestListener } from "@hono/node-server"
import { Effect, Layer, Redacted } from "effect"
import { Errors } from "mppx"
import { evm, Mppx } from "mppx/server"
import { createWalletClient, http, publicActions } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { EvmChain } from "../../../src/testing/chain/Evm.ts"
import * as TestToken from "../../../src/testing/chain/TestToken.ts"
import { OfficialServer, serve } from "./servers.ts"

export const secretKey = "0123456789abcdef0123456789abcdef"

type Answer =
  | { readonly status: 402; readonly challenge: Response }
  | { readonly status: 200; readonly withReceipt: (response: Response) => Response }

/** Sells the secret to whoever pays as the server says. `around` sees every request before it. */
export const shop = (
  pay: (request: Request) => Promise<Answer>,
  around: (request: Request, answer: () => Promise<Response>) => Promise<Response> = (_, answer) => answer()
) =>
  Effect.map(
    serve((sell) =>
      getRequestListener((request) =>
        around(request, async () => {
          const paid = await pay(request)
          return paid.status === 402 ? paid.challenge : paid.withReceipt(Response.json(sell()))
        })
      )
    ),
    OfficialServer.of
  )

/** What the server says to a credential that it does not take. */
export const refuse = (): never => {
  throw new Errors.VerificationFailedError({ reason: "it is not taken" })
}

/** How the server goes about it. */
export interface Manners {
  /** Around the settlement on the chain. */
  readonly settle?: (settle: () => Promise<string>) => Promise<string>
  readonly around?: Parameters<typeof shop>[1]
}

const makeEvm = Effect.fnUntraced(function*({ around, settle = (settle) => settle() }: Manners) {
  const chain = yield* EvmChain
  const { address, decimals, domain } = chain.asset
  const client = createWalletClient({
    account: privateKeyToAccount(Redacted.value(chain.accounts[0]!.privateKey)),
    transport: http(chain.rpcUrl),
    pollingInterval: 20
  }).extend(publicActions)
  const token = address as `0x${string}`
  const server = Mppx.create({
    secretKey,
    realm: "127.0.0.1",
    methods: [
      evm.charge({
        authorization: domain!,
        chainId: chain.chainId,
        currency: token,
        decimals,
        recipient: chain.accounts[2]!.address,
        settle: async ({ payload }) => ({
          reference: await settle(async () => {
            const hash = await client.writeContract({
              address: token,
              abi: TestToken.abi,
              functionName: "transferWithAuthorization",
              args: [
                payload.from as `0x${string}`,
                payload.to as `0x${string}`,
                BigInt(payload.value),
                BigInt(payload.validAfter),
                BigInt(payload.validBefore),
                payload.nonce as `0x${string}`,
                payload.signature as `0x${string}`
              ],
              chain: null
            }).catch(refuse)
            const { status } = await client.waitForTransactionReceipt({ hash })
            if (status !== "success") refuse()
            return hash
          })
        })
      })
    ]
  })
  return yield* shop(server.charge({ amount: "0.01" }), around)
})

/** mppx 0.11, method `evm`, which settles by itself. Everything costs a cent. */
export const evmServer = (manners: Manners = {}) => Layer.effect(OfficialServer, makeEvm(manners))
