/**
 * The names that x402 version 1 has for networks. Version 2 writes CAIP-2.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Network } from "../../Asset.ts"

const chainIds = {
  ethereum: 1,
  sepolia: 11155111,
  base: 8453,
  "base-sepolia": 84532,
  avalanche: 43114,
  "avalanche-fuji": 43113,
  polygon: 137,
  "polygon-amoy": 80002,
  sei: 1329,
  "sei-testnet": 1328,
  iotex: 4689,
  peaq: 3338,
  story: 1514,
  educhain: 41923,
  abstract: 2741,
  "abstract-testnet": 11124,
  "skale-base-sepolia": 324705682,
  megaeth: 4326,
  monad: 143,
  stable: 988,
  "stable-testnet": 2201,
  celo: 42220,
  flare: 14
}

const byName: ReadonlyMap<string, string> = new Map([
  ...Object.entries(chainIds).map(([name, chainId]) => [name, `eip155:${chainId}`] as const),
  ["solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"],
  ["solana-devnet", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"]
])

const byNetwork: ReadonlyMap<string, string> = new Map([...byName].map(([name, network]) => [network, name]))

const isNetwork = Schema.is(Network)

/**
 * The network that is meant by a name of version 1. What is CAIP-2 already is taken as it is.
 *
 * **Example** (A name and a network)
 *
 * ```ts
 * import * as Option from "effect/Option"
 * import * as Networks from "effect-mpp/wire/x402/Networks"
 *
 * Option.getOrThrow(Networks.fromName("base")) // => "eip155:8453"
 * Networks.fromName("neverland")._tag // => "None"
 * ```
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromName = (name: string): Option.Option<string> =>
  Option.orElse(Option.fromUndefinedOr(byName.get(name)), () => Option.liftPredicate(isNetwork)(name))

/**
 * The name of a network in version 1, if it has one.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toName = (network: string): Option.Option<string> => Option.fromUndefinedOr(byNetwork.get(network))
