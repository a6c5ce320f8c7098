// The usual way to refresh: the bare driver, a transaction that locks the row before it is changed.
import { serve } from '../support/serve.js';
import { driverServer } from './driver-server.js';
import { openDataSource } from './data-source.js';

serve(driverServer('SELECT FOR UPDATE', openDataSource));
