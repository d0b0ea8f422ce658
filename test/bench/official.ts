/** The official x402 server with the official facilitator, on a chain of its own. Run by the benchmark as a process. */
import { Effect, Layer, Redacted } from "effect"
import * as Evm from "../../src/testing/chain/Evm.ts"
import { hono, OfficialServer } from "../interop/official/servers.ts"
import { serve } from "./child.ts"

const wealth = 1_000_000_000n

// a settlement is seen at once, so that the server's polling is not what is measured
const Served = Layer.provideMerge(hono({ impatient: true }), Evm.layer({ chainId: 84532 }))

serve(
  Effect.gen(function*() {
    const { accounts, mint, network } = yield* Evm.EvmChain
    const { url } = yield* OfficialServer
    const payers = [accounts[1]!, accounts[3]!]
    for (const { address } of payers) yield* mint(address, wealth)
    return { origin: url, network, payers: payers.map(({ privateKey }) => Redacted.value(privateKey)) }
  }).pipe((told) => Effect.flatMap(Layer.build(Served), (context) => Effect.provide(told, context)))
)
