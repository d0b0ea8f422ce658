/**
 * Layers for tests of programs that pay. Local chains are modules of their own (`effect-mpp/testing/chain/Evm`,
 * `effect-mpp/testing/chain/Tempo`), since they need optional peers.
 *
 * @since 0.1.0
 */
export * as AgentTest from "./AgentTest.ts"
export * as TestWallet from "./TestWallet.ts"
