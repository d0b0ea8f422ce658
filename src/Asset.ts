/**
 * A currency on a network, and the table of the currencies that this library knows.
 *
 * An offer names a currency by network and address. What that currency is worth, how many decimals it has and under
 * which EIP-712 domain it takes signatures is never read from the offer: it comes from the table, and an asset that is
 * not in the table is not paid with. Extend the table with {@link layer} or the `MPP_ASSETS` variable.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/**
 * A network in CAIP-2 form, for example `eip155:8453`.
 *
 * @category models
 * @since 0.1.0
 */
export const Network = Schema.String.check(
  Schema.isPattern(/^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$/, { message: "Expected a CAIP-2 network such as eip155:8453" })
)

/**
 * The EIP-712 domain under which a token verifies signatures; chain id and contract are the asset's own.
 *
 * @category models
 * @since 0.1.0
 */
export const Domain = Schema.Struct({ name: Schema.NonEmptyString, version: Schema.NonEmptyString })

/**
 * A currency on a network.
 *
 * **Details**
 *
 * `usd` says that one whole unit counts as one US dollar in budgets. Only such assets are ever paid with. `testnet`
 * keeps currencies without value apart from real ones when no network was chosen by the configuration.
 *
 * **Example** (An asset of a local chain)
 *
 * ```ts
 * import * as Asset from "effect-mpp/Asset"
 *
 * const asset = new Asset.Asset({
 *   network: "eip155:31337",
 *   address: "0x5fbdb2315678afecb367f032d93f642f64180aa3",
 *   symbol: "USDC",
 *   decimals: 6,
 *   usd: true,
 *   testnet: true,
 *   domain: { name: "USD Coin", version: "2" }
 * })
 * asset.chainId // => 31337
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export class Asset extends Schema.Class<Asset>("effect-mpp/Asset")({
  network: Network,
  /** Contract address, lower case for `eip155` networks. */
  address: Schema.NonEmptyString,
  symbol: Schema.NonEmptyString,
  decimals: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 36 })),
  usd: Schema.Boolean,
  testnet: Schema.Boolean,
  domain: Schema.optionalKey(Domain)
}) {
  /** The EVM chain id, or `undefined` on networks that are not `eip155`. */
  get chainId(): number | undefined {
    return this.network.startsWith("eip155:") ? Number(this.network.slice("eip155:".length)) : undefined
  }
}

const evm = (
  chainId: number,
  address: string,
  symbol: string,
  name: string,
  version: string,
  testnet = false
): Asset =>
  new Asset({
    network: `eip155:${chainId}`,
    address: address.toLowerCase(),
    symbol,
    decimals: 6,
    usd: true,
    testnet,
    domain: { name, version }
  })

/** TIP-20 tokens have six decimals and take no EIP-712 signatures. */
const tip20 = (chainId: number, address: string, symbol: string, testnet = false): Asset =>
  new Asset({
    network: `eip155:${chainId}`,
    address: address.toLowerCase(),
    symbol,
    decimals: 6,
    usd: true,
    testnet
  })

/**
 * The unit of account of `mpp/1.0` token sessions: USDC held by the session endpoint, on no chain that we see.
 *
 * @category assets
 * @since 0.1.0
 */
export const sessionUsdc: Asset = new Asset({
  network: "mpp:session",
  address: "usdc",
  symbol: "USDC",
  decimals: 6,
  usd: true,
  testnet: false
})

/**
 * The dollar-pegged currencies that are known without configuration. Domains differ per chain: the same coin is
 * `USD Coin` on Base and `USDC` on Base Sepolia.
 *
 * @category assets
 * @since 0.1.0
 */
export const known: ReadonlyArray<Asset> = [
  sessionUsdc,
  tip20(4217, "0x20C000000000000000000000b9537d11c60E8b50", "USDC.e"),
  tip20(4217, "0x20c0000000000000000000000000000000000000", "pathUSD"),
  tip20(42431, "0x20c0000000000000000000000000000000000000", "pathUSD", true),
  tip20(42431, "0x20c0000000000000000000000000000000000001", "AlphaUSD", true),
  tip20(42431, "0x20c0000000000000000000000000000000000002", "BetaUSD", true),
  tip20(42431, "0x20c0000000000000000000000000000000000003", "ThetaUSD", true),
  evm(1, "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USDC", "USD Coin", "2"),
  evm(8453, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USDC", "USD Coin", "2"),
  evm(137, "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", "USDC", "USD Coin", "2"),
  evm(42161, "0xaf88d065e77c8cC2239327C5EDb3A432268e5831", "USDC", "USD Coin", "2"),
  evm(43114, "0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E", "USDC", "USD Coin", "2"),
  evm(143, "0x754704Bc059F8C67012fEd69BC8A327a5aafb603", "USDC", "USDC", "2"),
  evm(42220, "0xcebA9300f2b948710d2653dD7B07f33A8B32118C", "USDC", "USDC", "2"),
  evm(42220, "0x48065fbBE25f71C9282ddf5e1cD6D6A887483D5e", "USDT", "Tether USD", "1"),
  evm(42220, "0xD2ab3C9A02DBBAB236BfEC45D1d755DF4267F771", "USAT", "Tether America USD", "1"),
  evm(1329, "0xe15fC38F6D8c56aF07bbCBe3BAf5708A2Bf42392", "USDC", "USDC", "2"),
  evm(50, "0xfA2958CB79b0491CC627c1557F441eF849Ca8eb1", "USDC", "USDC", "2"),
  evm(988, "0x779Ded0c9e1022225f8E0630b35a9b54bE713736", "USDT0", "USDT0", "1"),
  evm(14, "0xe7cd86e13AC4309349F30B3435a9d337750fC82D", "USDT0", "USD₮0", "1"),
  evm(36900, "0x9cb8142aEBBcdc60AF7c97Af897A67A8f3CA71C2", "USDC.e", "USDC.e", "2"),
  evm(190415, "0x401eCb1D350407f13ba348573E5630B83638E30D", "USDC", "Bridged USDC", "2"),
  evm(84532, "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC", "USDC", "2", true),
  evm(421614, "0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d", "USDC", "USD Coin", "2", true),
  evm(11142220, "0x01C5C0122039549AD1493B8220cABEdD739BC44E", "USDC", "USDC", "2", true),
  evm(1328, "0x4fCF1784B31630811181f670Aea7A7bEF803eaED", "USDC", "USDC", "2", true),
  evm(51, "0xb5AB69F7bBada22B28e79C8FFAECe55eF1c771D4", "USDC", "USDC", "2", true),
  evm(2201, "0x78Cf24370174180738C5B8E352B6D14c83a6c9A9", "USDT0", "USDT0", "1", true),
  evm(181228, "0x401eCb1D350407f13ba348573E5630B83638E30D", "USDC", "Bridged USDC", "2", true)
]

/**
 * The assets that may be paid with.
 *
 * @category services
 * @since 0.1.0
 */
export interface AssetTable {
  readonly assets: ReadonlyArray<Asset>
  /** Finds an asset by network and address; hexadecimal addresses match in any case. */
  readonly find: (network: string, address: string) => Option.Option<Asset>
}

const keyOf = (network: string, address: string) => `${network}/${address.toLowerCase()}`

/**
 * Builds a table. A later entry replaces an earlier one of the same network and address.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeTable = (assets: ReadonlyArray<Asset>): AssetTable => {
  const byKey = new Map(assets.map((asset) => [keyOf(asset.network, asset.address), asset]))
  return {
    assets: [...byKey.values()],
    find: (network, address) => Option.fromUndefinedOr(byKey.get(keyOf(network, address)))
  }
}

/**
 * The table in force: the {@link known} assets unless a program adds its own.
 *
 * @category services
 * @since 0.1.0
 */
export const Table: Context.Reference<AssetTable> = Context.Reference<AssetTable>("effect-mpp/Asset/Table", {
  defaultValue: () => makeTable(known)
})

/**
 * Adds assets to the known ones. An entry of the same network and address replaces the known one.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (additional: ReadonlyArray<Asset>): Layer.Layer<never> =>
  Layer.succeed(Table, makeTable([...known, ...additional]))

/**
 * One entry of `MPP_ASSETS`: `eip155:31337/0x...:USDC:6:USD Coin:2`. The domain (name and version) may be left out for
 * assets that take no EIP-712 signatures.
 *
 * **Details**
 *
 * An asset that is configured by hand counts as a dollar. Whether it is one is for the operator to know.
 *
 * @category parsing
 * @since 0.1.0
 */
export const parse = (entry: string): Option.Option<Asset> => {
  const match =
    /^(?<network>[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32})\/(?<address>[^:\s]+):(?<symbol>[^:\s]+):(?<decimals>\d{1,2})(?::(?<name>[^:]+):(?<version>[^:]+))?$/u
      .exec(entry.trim())?.groups
  if (match === undefined) return Option.none()
  const decimals = Number(match.decimals)
  if (decimals > 36) return Option.none()
  return Option.some(
    new Asset({
      network: match.network!,
      address: match.address!.toLowerCase(),
      symbol: match.symbol!,
      decimals,
      usd: true,
      testnet: false,
      ...(match.name === undefined ? {} : { domain: { name: match.name, version: match.version! } })
    })
  )
}

const AssetFromEntry = Schema.String.check(
  Schema.makeFilter<string>((entry) =>
    Option.isSome(parse(entry)) || "Expected network/address:symbol:decimals, optionally followed by :name:version"
  )
)

/**
 * The assets of `MPP_ASSETS`, comma separated.
 *
 * @category config
 * @since 0.1.0
 */
export const config: Config.Config<ReadonlyArray<Asset>> = Config.Array(AssetFromEntry, "MPP_ASSETS").pipe(
  Config.withDefault([] as ReadonlyArray<string>),
  Config.map((entries) => entries.flatMap((entry) => Option.toArray(parse(entry))))
)

/**
 * Adds the assets of `MPP_ASSETS` to the known ones.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig: Layer.Layer<never, Config.ConfigError> = Layer.unwrap(
  Effect.map(config, layer)
)
