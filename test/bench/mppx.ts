/** A server of mppx that is paid on a Tempo chain of its own. Run by the benchmark as a process. */
import { Effect, Layer } from "effect"
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as Shops from "../interop/official/mppxShops.ts"
import { serve } from "./child.ts"

const wealth = 1_000_000_000n

const Served = Shops.layer.pipe(Layer.provideMerge(Layer.merge(Tempo.layer(), Evm.layer({ chainId: 84532 }))))

serve(
  Effect.gen(function*() {
    const { chainId, fund, pathUsd, rpcUrl } = yield* Tempo.TempoChain
    const { url } = yield* Shops.MppxShops
    // accounts of one currency, so that both payers pay their fees in it
    const payers = [generatePrivateKey(), generatePrivateKey()]
    for (const key of payers) yield* fund(privateKeyToAccount(key).address, wealth)
    return { origin: url, chainId, rpcUrl, token: pathUsd.address, payers }
  }).pipe((told) => Effect.flatMap(Layer.build(Served), (context) => Effect.provide(told, context)))
)
