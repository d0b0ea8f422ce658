import { x402Facilitator } from "@x402/core/facilitator"
import { toFacilitatorEvmSigner } from "@x402/evm"
import { ExactEvmScheme } from "@x402/evm/exact/facilitator"
import { ExactEvmSchemeV1 } from "@x402/evm/exact/v1/facilitator"
import { Context, Effect, Layer, Redacted } from "effect"
import { setTimeout } from "node:timers/promises"
import { createPublicClient, createWalletClient, http } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { baseSepolia } from "viem/chains"
import { createNonceManager, jsonRpc } from "viem/nonce"
import { EvmChain } from "../../../src/testing/chain/Evm.ts"

/** The official facilitator in this process, settling version 1 and 2 with the first account of the local chain. */
export class OfficialFacilitator extends Context.Service<OfficialFacilitator, x402Facilitator>()(
  "test/interop/OfficialFacilitator"
) {
  static readonly layer = (
    { impatient = false, ...options }: {
      readonly confirmationTimeoutMs?: number
      /** Asks for a receipt every millisecond: for chains that make a block for every transaction. */
      readonly impatient?: boolean
    } = {}
  ) =>
    Layer.effect(
      OfficialFacilitator,
      Effect.map(EvmChain, ({ accounts, network, rpcUrl }) => {
        // A manager of its own: the one that viem shares remembers the transactions of chains that are gone.
        const account = privateKeyToAccount(Redacted.value(accounts[0]!.privateKey), {
          nonceManager: createNonceManager({ source: jsonRpc() })
        })
        const connection = { chain: baseSepolia, transport: http(rpcUrl), pollingInterval: 25 }
        const reads = createPublicClient(connection)
        const writes = createWalletClient({ ...connection, account })
        const signer = toFacilitatorEvmSigner({
          address: account.address,
          getCode: (args) => reads.getCode(args),
          readContract: (args) => reads.readContract(args as never),
          verifyTypedData: (args) => reads.verifyTypedData(args as never),
          writeContract: (args) => writes.writeContract(args as never),
          sendTransaction: (args) => writes.sendTransaction(args as never),
          // viem's own waiting misses a block that comes while it looks, the likelier the more often it looks
          waitForTransactionReceipt: impatient
            ? async ({ hash }) => {
              for (;;) {
                const receipt = await reads.getTransactionReceipt({ hash }).catch(() => undefined)
                if (receipt !== undefined) return receipt
                await setTimeout(1)
              }
            }
            : (args) => reads.waitForTransactionReceipt(args)
        }, options)
        return new x402Facilitator()
          .register(network as `eip155:${string}`, new ExactEvmScheme(signer))
          .registerV1("base-sepolia" as `${string}:${string}`, new ExactEvmSchemeV1(signer))
      })
    )
}
