import { serveBetterAuth } from './support/better-auth.js';

serveBetterAuth(false);
