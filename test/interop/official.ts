/** The official x402 server side on a local chain, for tests and benchmarks. */
import { x402Facilitator } from "@x402/core/facilitator"
import type { FacilitatorClient } from "@x402/core/server"
import { toFacilitatorEvmSigner } from "@x402/evm"
import { ExactEvmScheme as FacilitatorScheme } from "@x402/evm/exact/facilitator"
import { ExactEvmScheme as ServerScheme } from "@x402/evm/exact/server"
import { paymentMiddleware, x402ResourceServer } from "@x402/hono"
import { Redacted } from "effect"
import { Hono } from "hono"
import { createPublicClient, createWalletClient, http } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { baseSepolia } from "viem/chains"
import { createNonceManager, jsonRpc } from "viem/nonce"
import type * as Evm from "../../src/testing/chain/Evm.ts"

type Chain = Pick<Evm.EvmChain["Service"], "accounts" | "network" | "rpcUrl">

export const networkOf = ({ network }: Pick<Chain, "network">) => network as `eip155:${string}`

/** The official facilitator in this process; the chain's first account settles. */
export const facilitator = (chain: Chain, { pollingInterval = 25 }: { readonly pollingInterval?: number } = {}) => {
  const account = privateKeyToAccount(Redacted.value(chain.accounts[0]!.privateKey), {
    // one of its own: viem's remembers across chains
    nonceManager: createNonceManager({ source: jsonRpc() })
  })
  const options = { chain: baseSepolia, transport: http(chain.rpcUrl), pollingInterval }
  const reads = createPublicClient(options)
  const writes = createWalletClient({ ...options, account })
  return new x402Facilitator().register(
    networkOf(chain),
    new FacilitatorScheme(toFacilitatorEvmSigner({
      address: account.address,
      getCode: (args) => reads.getCode(args),
      readContract: (args) => reads.readContract(args as never),
      verifyTypedData: (args) => reads.verifyTypedData(args as never),
      writeContract: (args) => writes.writeContract(args as never),
      sendTransaction: (args) => writes.sendTransaction(args as never),
      waitForTransactionReceipt: (args) => reads.waitForTransactionReceipt(args)
    }))
  )
}

/** An official server that sells `GET /data` for a cent. */
export const shop = (
  chain: Pick<Chain, "network">,
  facilitator: FacilitatorClient,
  options: { readonly payTo: string; readonly answer: object }
) => {
  const network = networkOf(chain)
  const server = new x402ResourceServer(facilitator).register(network, new ServerScheme())
  const app = new Hono()
  app.use(paymentMiddleware({
    "GET /data": { accepts: { scheme: "exact", network, payTo: options.payTo, price: "$0.01" }, description: "" }
  }, server))
  app.get("/data", (context) => context.json(options.answer))
  return app
}
